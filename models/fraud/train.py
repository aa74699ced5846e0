"""Gradient boosting on card payments: numbers and text, each of which is an input of its own, and few of the payments are fraud.

The payments are made here from odds that are known, after the questions of published fraud data sets; nothing is said about real ones.
"""

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

SEED = 23
ROWS = 12_000
NUMBERS = ["amount", "hour", "payments_today", "new_device"]
EFFECT = {  # of a column's value on the logarithm of the odds
    "country": {"domestic": 0.0, "neighbour": 0.5, "overseas": 2.0},
    "merchant": {"groceries": -1.0, "fuel": -0.5, "travel": 0.3, "electronics": 1.4, "gift_cards": 2.6},
}
SHARE = {"country": [0.8, 0.14, 0.06], "merchant": [0.45, 0.2, 0.15, 0.14, 0.06]}


def load() -> tuple[pd.DataFrame, np.ndarray]:
    """Made data: amount in whole euros, hour of the day, the card's payments that day, whether its device is new (0 or 1), country and
    kind of merchant; `fraud` or `genuine`.
    """
    random = np.random.default_rng(SEED)
    X = pd.DataFrame(
        {
            "amount": np.exp(random.normal(3.6, 1.1, ROWS)).clip(1, 5_000).round(),
            "hour": random.integers(0, 24, ROWS).astype(float),
            "payments_today": random.poisson(1.5, ROWS).astype(float),
            "new_device": (random.random(ROWS) < 0.12).astype(float),
            **{column: random.choice(list(effect), ROWS, p=SHARE[column]) for column, effect in EFFECT.items()},
        }
    )
    odds = -9.5 + 0.9 * np.log(X["amount"]) + 2.2 * (X["hour"] < 6) + 0.35 * X["payments_today"] + 2.4 * X["new_device"]
    # A new device abroad is worse than the sum of the two: a linear model can't learn that.
    odds += 2.0 * X["new_device"] * (X["country"] == "overseas")
    for column, effect in EFFECT.items():
        odds += X[column].map(effect)
    return X, np.where(random.random(ROWS) < 1 / (1 + np.exp(-odds)), "fraud", "genuine")


def train(X: pd.DataFrame, y: np.ndarray) -> Pipeline:
    """A hundred small trees; a country or merchant that training never saw counts as none of those it did."""
    columns = ColumnTransformer([("number", "passthrough", NUMBERS), ("text", OneHotEncoder(handle_unknown="ignore"), list(EFFECT))])
    return make_pipeline(columns, GradientBoostingClassifier(n_estimators=100, max_depth=3, random_state=SEED)).fit(X, y)
