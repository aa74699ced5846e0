"""Rows of each kind: what scikit-learn brings along, and drawn ones where it has none, the same each time."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets

__all__ = ["amounts", "cancer", "categories", "clusters", "digits", "gaps", "images", "prices", "several", "texts", "wine"]

Rows = tuple[Any, Any]
_WORDS = {
    "good": ["great", "lovely", "fine", "wonderful", "bright", "happy", "splendid", "Überraschung"],
    "bad": ["awful", "poor", "dull", "dreadful", "grim", "sad", "shabby", "Enttäuschung"],
    "any": ["the", "film", "was", "a", "very", "long", "story", "with", "music", "and", "of", "course", "Straßen", "in", "Köln", "2024"],
}


@cache
def wine() -> Rows:
    """Three classes."""
    found: Rows = datasets.load_wine(return_X_y=True)
    return found


@cache
def cancer() -> Rows:
    """Two classes, named."""
    X, y = datasets.load_breast_cancer(return_X_y=True)
    return X, np.array(["malignant", "benign"], dtype=object)[y]


@cache
def digits() -> Rows:
    X, y = datasets.load_digits(return_X_y=True)
    return X / 16, y


def images() -> Rows:
    """Of one channel."""
    X, y = digits()
    return X.reshape(-1, 1, 8, 8).astype(np.float32), y


@cache
def amounts() -> Rows:
    """What to predict is between 25 and 346."""
    found: Rows = datasets.load_diabetes(return_X_y=True)
    return found


def several() -> Rows:
    """Three amounts a row."""
    found: Rows = datasets.load_linnerud(return_X_y=True)
    return np.tile(found[0], (8, 1)) + _random().normal(0, 1, (160, 3)), np.tile(found[1], (8, 1))


def clusters() -> Rows:
    return wine()[0], None


def gaps() -> Rows:
    """A tenth of the values are missing."""
    X, y = wine()
    return np.where(_random().random(X.shape) < 0.1, np.nan, X), y


@cache
def categories() -> Rows:
    """Numbers, whole numbers, text and truth; two classes."""
    X = _table()
    score = (X["city"] == "Bonn") + (X["age"] > 45) + X["member"] + _random().normal(0, 0.3, len(X))
    return X, (score > 1).astype(int).to_numpy()


@cache
def prices() -> Rows:
    """The same table, and an amount."""
    X = _table()
    amount = 20 + X["income"] / 1000 + 10 * (X["city"] == "Köln") + 5 * X["member"] + _random().normal(0, 1, len(X))
    return X, amount.to_numpy()


@cache
def texts() -> Rows:
    """A column of text; two classes."""
    random = _random()
    y = np.arange(400) % 2
    kinds = ("bad", "good")
    lines = [" ".join(random.permutation([*random.choice(_WORDS["any"], 8), *random.choice(_WORDS[kinds[label]], 2)])) for label in y]
    return pd.DataFrame({"text": lines}), y


def _table() -> pd.DataFrame:
    random = _random()
    return pd.DataFrame(
        {
            "city": random.choice(["Bonn", "Köln", "Essen", ""], 500),
            "plan": random.choice(["free", "plus", "pro"], 500),
            "age": random.integers(18, 80, 500),
            "income": random.gamma(4, 9000, 500).astype(np.float32),
            "member": random.random(500) < 0.4,
        }
    )


def _random() -> np.random.Generator:
    return np.random.default_rng(7)
