"""Demand forecast of one article: tomorrow's sales from those before, the calendar, the price, and whether it is advertised.

The sales are made here around a mean that is known, so that the error can be compared with the smallest there is.
"""

import numpy as np
import pandas as pd
from sklearn.ensemble import GradientBoostingRegressor

SEED = 5
DAYS = 3 * 365
WEEK = np.array([0.8, 0.75, 0.8, 0.9, 1.2, 1.6, 0.95])
"""Of a mean day, Monday first."""


def load() -> tuple[pd.DataFrame, np.ndarray]:
    """Made data, a day a row, without the first four weeks; whole units sold on the day after those that the columns tell of."""
    random = np.random.default_rng(SEED)
    day = np.arange(DAYS)
    price = random.choice([2.5, 2.8, 3.2], DAYS, p=[0.2, 0.6, 0.2])
    promotion = (random.random(DAYS) < 0.1).astype(float)
    season = 1 + 0.3 * np.sin(2 * np.pi * (day - 80) / 365.25)
    mean = 48 * WEEK[day % 7] * season * (1 + 0.1 * day / 365) * (price / 2.8) ** -1.4 * (1 + 0.5 * promotion)
    sold = random.poisson(mean).astype(float)
    X = pd.DataFrame(
        {
            "yesterday": np.roll(sold, 1),
            "week_before": np.roll(sold, 7),
            "four_weeks_before": np.roll(sold, 28),
            "mean_of_week": np.convolve(np.roll(sold, 1), np.ones(7) / 7)[:DAYS],
            "weekday": (day % 7).astype(float),
            "day_of_year": (day % 365).astype(float),
            "price": price,
            "promotion": promotion,
        }
    )
    return X[28:], sold[28:]


def train(X: pd.DataFrame, y: np.ndarray) -> GradientBoostingRegressor:
    """Small trees, each on what those before it left over."""
    return GradientBoostingRegressor(n_estimators=120, max_depth=3, learning_rate=0.08, subsample=0.8, random_state=SEED).fit(X, y)
