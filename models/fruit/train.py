"""Decision tree on the classic first example: is a fruit of this weight and texture an apple, a lemon or an orange?

The rows are made here, since the articles give four. Weights and textures of the fruits overlap, so no model is always right.
"""

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier

SEED = 11
ROWS_OF_EACH = 150
FRUITS = {  # mean and standard deviation of the weight in g, and of the texture from 0 (smooth) to 1 (rough)
    "apple": ((165, 20), (0.15, 0.08)),
    "lemon": ((110, 15), (0.50, 0.10)),
    "orange": ((180, 22), (0.60, 0.10)),
}


def load() -> tuple[pd.DataFrame, np.ndarray]:
    """Made data: weight in g, texture from 0 to 1; the fruit's name."""
    random = np.random.default_rng(SEED)
    rows = [
        pd.DataFrame({"weight": random.normal(*weight, ROWS_OF_EACH).round(1), "texture": random.normal(*texture, ROWS_OF_EACH).clip(0, 1)})
        for weight, texture in FRUITS.values()
    ]
    return pd.concat(rows, ignore_index=True).round(2), np.repeat(list(FRUITS), ROWS_OF_EACH)


def train(X: pd.DataFrame, y: np.ndarray) -> DecisionTreeClassifier:
    """A tree that a person can still read: at most four questions, at least five fruits behind each answer."""
    return DecisionTreeClassifier(max_depth=4, min_samples_leaf=5, random_state=SEED).fit(X, y)
