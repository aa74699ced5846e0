"""Speech: a vowel from the spectrum of a quarter of a second, which the caller computes with `spectrum` below.

The sounds are made here: the harmonics of a voice, louder where the vowel's two formants are, in noise. Real speech is harder.
"""

from itertools import pairwise

import numpy as np
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 19
SOUNDS = 800
RATE = 8_000
"""Samples a second."""
BANDS = 20
FORMANTS = {"a": (750, 1_250), "e": (450, 1_950), "i": (290, 2_300), "o": (450, 850), "u": (310, 800)}
"""Hz, about those of a man's voice; a woman's and a child's are higher."""


def spectrum(sounds: np.ndarray) -> np.ndarray:
    """Samples [n, samples] to decimal logarithms of energy [n, 20], in bands that grow wider as those of hearing do."""
    power = np.abs(np.fft.rfft(sounds * np.hanning(sounds.shape[1]))) ** 2
    pitch = np.fft.rfftfreq(sounds.shape[1], 1 / RATE)
    edges = np.geomspace(80, RATE / 2, BANDS + 1)
    bands = [power[:, (low <= pitch) & (pitch < high)].sum(axis=1) for low, high in pairwise(edges)]
    return np.log10(np.stack(bands, axis=1) + 1e-6).astype(np.float32)


def load() -> tuple[np.ndarray, np.ndarray]:
    """Spectra of made sounds; the vowel."""
    random = np.random.default_rng(SEED)
    vowels = random.choice(list(FORMANTS), SOUNDS)
    return spectrum(np.stack([_sound(random, vowel) for vowel in vowels])), vowels


def train(X: np.ndarray, y: np.ndarray) -> Pipeline:
    """A small network on standardized bands."""
    network = MLPClassifier(
        hidden_layer_sizes=(24,), learning_rate_init=0.01, max_iter=300, tol=3e-3, n_iter_no_change=4, random_state=SEED
    )
    return make_pipeline(StandardScaler(), network).fit(X, y)


def _sound(random: np.random.Generator, vowel: str) -> np.ndarray:
    """A quarter of a second of a voice of its own, loud or soft."""
    time = np.arange(RATE // 4) / RATE
    tone, size = random.uniform(90, 240), random.uniform(0.92, 1.12)  # of the voice, and of the throat
    harmonics = tone * np.arange(1, int(RATE / 2 / tone))
    loudness = sum(np.exp(-(((harmonics - size * formant) / 130) ** 2) / 2) for formant in FORMANTS[vowel]) + 0.02
    phases = random.uniform(0, 2 * np.pi, len(harmonics))
    voice: np.ndarray = loudness @ np.sin(2 * np.pi * np.outer(harmonics, time) + phases[:, np.newaxis])
    return voice * random.uniform(0.3, 1) + random.normal(0, 0.15, len(time))
