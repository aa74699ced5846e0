"""Recommendation: what a person would rate a film, from what is known of both; who asks for many films shows the best of them.

Persons, films and ratings are made here. Features instead of ids: a film that nobody has rated yet gets an answer too.
"""

import numpy as np
import pandas as pd
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 9
PERSONS, FILMS, RATINGS = 400, 250, 6_000
GENRES = ["action", "comedy", "drama", "documentary", "horror"]


def load() -> tuple[pd.DataFrame, np.ndarray]:
    """Made data, a rating a row: `likes_` is what the person rates a genre on average less 3, `is_` how much of it the film has."""
    random = np.random.default_rng(SEED)
    taste = random.normal(0, 1, (PERSONS, len(GENRES))).clip(-2, 2)
    age = random.integers(16, 80, PERSONS).astype(float)
    film = random.dirichlet(np.full(len(GENRES), 0.4), FILMS)
    year = random.integers(1970, 2025, FILMS).astype(float)
    quality = random.normal(0, 0.4, FILMS)
    person, rated = random.integers(0, PERSONS, RATINGS), random.integers(0, FILMS, RATINGS)
    nostalgia = -0.004 * (age[person] - 45) * (year[rated] - 2000) / 10
    preference = 3.2 + (taste[person] * film[rated]).sum(axis=1) + quality[rated] + nostalgia
    rating = np.clip(np.round(preference + random.normal(0, 0.5, RATINGS)), 1, 5)
    columns = {f"likes_{genre}": taste[person, place].round(2) for place, genre in enumerate(GENRES)}
    columns |= {f"is_{genre}": film[rated, place].round(2) for place, genre in enumerate(GENRES)}
    columns |= {"age": age[person], "year": year[rated], "mean_rating": (3.2 + quality[rated]).round(2)}
    return pd.DataFrame(columns), rating


def train(X: pd.DataFrame, y: np.ndarray) -> Pipeline:
    """A network, since a rating is a sum of products of what a person likes and what a film is."""
    network = MLPRegressor(hidden_layer_sizes=(32,), learning_rate_init=0.01, max_iter=300, tol=3e-3, n_iter_no_change=4, random_state=SEED)
    return make_pipeline(StandardScaler(), network).fit(X, y)
