"""Logistic regression on mixed columns, numbers and text, each of which is an input of its own.

The people are made here, after the questions of the well-known census data set; nothing is said about real ones.
"""

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

SEED = 3
ROWS = 2_000
NUMBERS = ["age", "hours", "education_years"]
EFFECT = {  # of a column's value on the logarithm of the odds
    "occupation": {"craft": 0.0, "management": 1.6, "sales": 0.4, "service": -1.2, "technical": 1.0},
    "sector": {"private": 0.0, "public": -0.3, "self_employed": 0.5},
}


def load() -> tuple[pd.DataFrame, np.ndarray]:
    """Made data: age and education in years, hours a week, occupation and sector; `high` or `low` income."""
    random = np.random.default_rng(SEED)
    X = pd.DataFrame(
        {
            "age": random.integers(18, 70, ROWS).astype(float),
            "hours": random.normal(40, 9, ROWS).clip(5, 80).round(),
            "education_years": random.integers(8, 20, ROWS).astype(float),
            **{column: random.choice(list(effect), ROWS) for column, effect in EFFECT.items()},
        }
    )
    odds = -11.0 + 0.05 * X["age"] + 0.09 * X["hours"] + 0.4 * X["education_years"]
    for column, effect in EFFECT.items():
        odds += X[column].map(effect)
    return X, np.where(random.random(ROWS) < 1 / (1 + np.exp(-odds)), "high", "low")


def train(X: pd.DataFrame, y: np.ndarray) -> Pipeline:
    """Scales numbers and spreads text over one column a value; a value that training never saw counts as none of them."""
    columns = ColumnTransformer([("number", StandardScaler(), NUMBERS), ("text", OneHotEncoder(handle_unknown="ignore"), list(EFFECT))])
    return make_pipeline(columns, LogisticRegression(max_iter=500)).fit(X, y)
