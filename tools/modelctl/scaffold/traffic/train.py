"""Traffic: the flow past one counter in the next quarter of an hour, from that before.

The counts are made here: two rush hours on working days, rain that comes and goes, and chance. A model of a straight line is enough.
"""

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 17
QUARTERS = 7 * 24 * 4
"""Of an hour, in a week."""
WEEKS = 12


def load() -> tuple[pd.DataFrame, np.ndarray]:
    """Made data, a quarter of an hour a row, without the first week; whole vehicles in the quarter after those that the columns tell of."""
    random = np.random.default_rng(SEED)
    time = np.arange(WEEKS * QUARTERS)
    hour, weekday = time / 4 % 24, time // 96 % 7
    rush = np.exp(-((hour - 8) ** 2) / 2) + 1.1 * np.exp(-((hour - 17.5) ** 2) / 3)
    day = 40 + 60 * np.exp(-((hour - 13) ** 2) / 30)
    steps = random.normal(0, 1, len(time))
    weather = np.convolve(steps, 0.97 ** np.arange(200))[: len(time)] / 4  # remembers hours
    mean = (day + 200 * rush * np.where(weekday < 5, 1.0, 0.25)) * np.exp(0.12 * weather)
    counted = random.poisson(mean).astype(float)
    ago = {"last": 1, "second_last": 2, "third_last": 3, "fourth_last": 4, "day_before": 96, "week_before": QUARTERS}
    X = pd.DataFrame({name: np.roll(counted, quarters) for name, quarters in ago.items()})
    X["week_before_last"] = np.roll(counted, QUARTERS + 1)  # what the last quarter was compared with the same one a week before
    return X[QUARTERS + 1 :], counted[QUARTERS + 1 :]


def train(X: pd.DataFrame, y: np.ndarray) -> Pipeline:
    """Least squares with a little restraint, since the columns say much the same."""
    return make_pipeline(StandardScaler(), Ridge(alpha=1.0)).fit(X, y)
