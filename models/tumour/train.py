"""Support-vector machine on scikit-learn's breast cancer data: scaling, feature selection and a grid search, with probabilities."""

from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

GRID = {"select__k": [15, 30], "svm__estimator__C": [1.0, 10.0], "svm__estimator__gamma": ["scale", 0.01]}


def load() -> tuple[np.ndarray, np.ndarray]:
    """30 measurements of cell nuclei; 0 malignant, 1 benign."""
    X, y = load_breast_cancer(return_X_y=True)
    return X, y


def train(X: np.ndarray, y: np.ndarray) -> Pipeline:
    """The grid's best pipeline; scaling and selection are inside it, so that no fold sees another's rows."""
    steps: list[tuple[str, Any]] = [
        ("scale", StandardScaler()),
        ("select", SelectKBest(f_classif)),
        ("svm", CalibratedClassifierCV(SVC(kernel="rbf"), ensemble=False)),  # a margin becomes a probability
    ]
    return GridSearchCV(Pipeline(steps), GRID, scoring="f1_macro", cv=5).fit(X, y).best_estimator_
