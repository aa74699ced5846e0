"""Trains a network of one hidden layer by whatever its loss says, which scikit-learn's do not let be chosen."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Slope", "fitted", "softmax"]

_STEPS = 3_000
_BATCH = 32
_RATE = 0.005  # at first; it falls to nothing along a cosine
_DECAY = 1e-3  # of the weights, each step by the rate
_MEMORY = (0.9, 0.999)
Matrix = NDArray[np.floating[Any]]
Slope = Callable[[NDArray[np.intp], Matrix], Matrix]
"""The derivative of each row's loss by what the network answers for it; is given which rows these are."""


def fitted(features: Matrix, outputs: int, width: int, slope: Slope, seed: int) -> list[Matrix]:
    """Weights of [features, width], [width], [width, outputs] and [outputs], after Adam with decoupled decay.

    Kingma and Ba, "Adam" (2015); Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019).
    """
    random = np.random.default_rng(seed)
    features = features.astype(np.float32)
    shapes = [(features.shape[1], width), (width,), (width, outputs), (outputs,)]
    weights: list[Matrix] = [_start(random, shape) for shape in shapes]
    moments = [(np.zeros_like(weight), np.zeros_like(weight)) for weight in weights]
    order = np.empty(0, dtype=np.intp)
    for step in range(1, _STEPS + 1):
        if len(order) < min(_BATCH, len(features)):
            order = random.permutation(len(features))
        rows, order = order[:_BATCH], order[_BATCH:]
        rate = _RATE * (1 + math.cos(math.pi * step / _STEPS)) / 2
        for weight, gradient, moment in zip(weights, _gradients(weights, features[rows], rows, slope), moments, strict=True):
            _stepped(weight, gradient, moment, rate, step)
    return weights


def softmax(logits: Matrix) -> Matrix:
    """Of each row."""
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Matrix = grown / grown.sum(axis=1, keepdims=True)
    return shares


def _start(random: np.random.Generator, shape: tuple[int, ...]) -> Matrix:
    """He and others, "Delving Deep into Rectifiers" (2015)."""
    return (random.normal(0, np.sqrt(2 / shape[0]), shape) if len(shape) == 2 else np.zeros(shape)).astype(np.float32)


def _gradients(weights: list[Matrix], features: Matrix, rows: NDArray[np.intp], slope: Slope) -> list[Matrix]:
    """Of the mean loss of these rows, by each of the weights."""
    hidden, first, last, second = weights
    rectified = np.maximum(features @ hidden + first, 0)
    by_answer = slope(rows, rectified @ last + second) / len(rows)
    by_hidden = (by_answer @ last.T) * (rectified > 0)
    return [features.T @ by_hidden, by_hidden.sum(axis=0), rectified.T @ by_answer, by_answer.sum(axis=0)]


def _stepped(weight: Matrix, gradient: Matrix, moment: tuple[Matrix, Matrix], rate: float, step: int) -> None:
    mean, square = moment
    mean += (1 - _MEMORY[0]) * (gradient - mean)
    square += (1 - _MEMORY[1]) * (gradient**2 - square)
    weight -= rate * _DECAY * weight
    weight -= rate * (mean / (1 - _MEMORY[0] ** step)) / (np.sqrt(square / (1 - _MEMORY[1] ** step)) + 1e-8)
