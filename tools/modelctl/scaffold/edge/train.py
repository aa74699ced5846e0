"""Driving, on the device itself: where the road in a small image turns; the INT8 copy of this network runs without a connection.

The images are made here: two lines that meet ahead, bent and shifted, in light that changes. No such model steers a car.
"""

import numpy as np
from sklearn.neural_network import MLPClassifier

SEED = 29
IMAGES = 2_400
HEIGHT, WIDTH = 16, 32
TURNS = {"left": -1.0, "straight": 0.0, "right": 1.0}


def load() -> tuple[np.ndarray, np.ndarray]:
    """Made images [n, 512], 0 to 1; where the road turns."""
    random = np.random.default_rng(SEED)
    turns = random.choice(list(TURNS), IMAGES)
    return np.stack([_image(random, turn) for turn in turns]).reshape(IMAGES, -1).astype(np.float32), turns


def train(X: np.ndarray, y: np.ndarray) -> MLPClassifier:
    """Dense layers of 64 and 3: products of matrices, which INT8 makes four times smaller."""
    return MLPClassifier(
        hidden_layer_sizes=(64,), learning_rate_init=0.003, max_iter=300, tol=3e-3, n_iter_no_change=4, random_state=SEED
    ).fit(X, y)


def _image(random: np.random.Generator, turn: str) -> np.ndarray:
    """Farther rows are nearer to the top, where the lines are closer to each other and the bend shows most."""
    ahead = np.linspace(1, 0, HEIGHT)[:, np.newaxis]
    bend = TURNS[turn] * random.uniform(3, 8) + random.normal(0, 0.6)
    middle = WIDTH / 2 + random.normal(0, 2) + bend * ahead**2
    half = 2 + random.uniform(7, 10) * (1 - ahead)
    column = np.arange(WIDTH)
    lines = sum(np.exp(-((column - middle - side * half) ** 2)) for side in (-1, 1))
    image = random.uniform(0.1, 0.4) + random.uniform(0.4, 0.6) * lines + random.normal(0, 0.08, (HEIGHT, WIDTH))
    clipped: np.ndarray = np.clip(image, 0, 1)
    return clipped
