"""Pricing: how many of a hotel's rooms are booked at a price. Who asks for several prices takes the one where price times rooms is most.

The bookings are made here, at prices that were drawn at random: without that no model can tell what a price does from what made it.
"""

import numpy as np
import pandas as pd
from sklearn.ensemble import GradientBoostingRegressor

SEED = 13
ROWS = 3_000
ROOMS = 100
ELASTICITY = -6.0
"""Of the odds that a room is booked, per unit of the logarithm of the price against the rival's."""


def load() -> tuple[pd.DataFrame, np.ndarray]:
    """Made data, a night a row; rooms booked in the end, 0 to 100."""
    random = np.random.default_rng(SEED)
    X = pd.DataFrame(
        {
            "price": random.uniform(60, 220, ROWS).round(),
            "rival_price": random.uniform(80, 180, ROWS).round(),
            "days_ahead": random.integers(0, 60, ROWS).astype(float),
            "weekend": (random.random(ROWS) < 2 / 7).astype(float),
            "event": (random.random(ROWS) < 0.08).astype(float),
            "share_booked": random.beta(2, 4, ROWS).round(2),
        }
    )
    odds = 0.2 + ELASTICITY * np.log(X["price"] / X["rival_price"]) + 0.6 * X["weekend"] + 1.5 * X["event"] + 1.5 * X["share_booked"]
    odds += 0.01 * X["days_ahead"]
    return X, random.binomial(ROOMS, 1 / (1 + np.exp(-odds))).astype(float)


def train(X: pd.DataFrame, y: np.ndarray) -> GradientBoostingRegressor:
    """Trees that split on the two prices by turns; more of them buy little."""
    return GradientBoostingRegressor(n_estimators=150, max_depth=4, learning_rate=0.1, random_state=SEED).fit(X, y)
