"""Gradient boosting on scikit-learn's diabetes data: how far the disease progressed a year after ten measurements."""

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor

SEED = 0


def load() -> tuple[np.ndarray, np.ndarray]:
    """Age, sex, body-mass index, blood pressure and six blood serum values, centred and scaled; a score from 25 to 346."""
    X, y = load_diabetes(return_X_y=True)
    return X, y


def train(X: np.ndarray, y: np.ndarray) -> GradientBoostingRegressor:
    """Shallow trees, small steps, half of the rows and columns for each: 442 rows are few, and deeper trees learn them by heart."""
    return GradientBoostingRegressor(
        n_estimators=100, learning_rate=0.05, max_depth=2, subsample=0.5, max_features=0.5, min_samples_leaf=10, random_state=SEED
    ).fit(X, y)
