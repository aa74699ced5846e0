"""A small neural network on scikit-learn's images of handwritten digits.

An image is one row of 64 pixels, [-1, 64] and not [-1, 1, 8, 8]: the network is fully connected and reads pixels without
their neighbourhood, so a picture-shaped input would promise what the model doesn't do.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler

SEED = 0


def load() -> tuple[np.ndarray, np.ndarray]:
    """8x8 pixels row by row, 0 white to 16 black; the digit."""
    X, y = load_digits(return_X_y=True)
    return X, y


def train(X: np.ndarray, y: np.ndarray) -> Pipeline:
    """One hidden layer of 64; training ends when an epoch no longer helps."""
    network = MLPClassifier(hidden_layer_sizes=(64,), learning_rate_init=0.003, tol=1e-3, max_iter=400, random_state=SEED)
    return make_pipeline(MinMaxScaler(), network).fit(X, y)
