"""Credit scoring: the probability that a loan is repaid, from a model whose weights can be read out to who asks why.

The loans are made here from odds that are known; nothing is said about real ones.
"""

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

SEED = 3
ROWS = 6_000
NUMBERS = ["income", "amount", "months", "late_payments", "years_employed", "share_of_income"]
EFFECT = {  # of a column's value on the logarithm of the odds to default
    "home": {"owned": -0.5, "mortgage": -0.2, "rented": 0.3},
    "purpose": {"car": -0.2, "home": -0.3, "education": 0.0, "debts": 0.8},
}


def load() -> tuple[pd.DataFrame, np.ndarray]:
    """Made data, an applicant a row: `share_of_income` is what a month's rate takes of a month's income; `defaulted` or `repaid`."""
    random = np.random.default_rng(SEED)
    X = pd.DataFrame(
        {
            "income": np.exp(random.normal(10.4, 0.45, ROWS)).clip(9_000, 300_000).round(-2),
            "amount": np.exp(random.normal(9.0, 0.7, ROWS)).clip(500, 80_000).round(-2),
            "months": random.choice([12.0, 24.0, 36.0, 48.0, 60.0], ROWS),
            "late_payments": random.poisson(0.6, ROWS).astype(float),
            "years_employed": random.exponential(6, ROWS).clip(0, 40).round(1),
        }
    )
    X["share_of_income"] = (12 * X["amount"] / X["months"] / X["income"]).clip(0, 1).round(3)
    X = X.assign(**{column: random.choice(list(effect), ROWS) for column, effect in EFFECT.items()})
    odds = -3.4 + 1.1 * X["late_payments"] + 4.0 * X["share_of_income"] - 0.08 * X["years_employed"]
    for column, effect in EFFECT.items():
        odds += X[column].map(effect)
    return X, np.where(random.random(ROWS) < 1 / (1 + np.exp(-odds)), "defaulted", "repaid")


def train(X: pd.DataFrame, y: np.ndarray) -> Pipeline:
    """A weight for each number and each text; a home or purpose that training never saw counts as none of those it did."""
    columns = ColumnTransformer([("number", StandardScaler(), NUMBERS), ("text", OneHotEncoder(handle_unknown="ignore"), list(EFFECT))])
    return make_pipeline(columns, LogisticRegression(max_iter=500)).fit(X, y)
