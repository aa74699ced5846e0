"""Which channels of a layer can go, and what the others must be multiplied by to stand in for them.

A layer answers A W, with the activations A of [rows, channels] and its weights W of [channels, outputs]. Without channel c, and with the
others refitted by least squares, it errs by at least |W_c|^2 / (H^-1)_cc, H = A'A: the saliency of Hassibi and Stork, "Second order
derivatives for network pruning: Optimal Brain Surgeon" (NIPS 1992), for a row of weights. The least salient goes, H^-1 and W are brought up
to date, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Elimination", "eliminate", "gram", "refitted"]

_RIDGE = 1e-6  # of the mean activation squared, for channels that others determine, or that never fire
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Elimination:
    """Channels in the order in which they go."""

    order: NDArray[np.intp]
    cost: Matrix
    """By then, the share of the layer's answers that is lost: a mean square relative to theirs."""

    def within(self, share: float) -> NDArray[np.bool_]:
        """Which channels stay when at most `share` may be lost; one always does."""
        gone = min(int(np.searchsorted(self.cost, share, side="right")), len(self.order) - 1)
        kept = np.ones(len(self.order), dtype=np.bool_)
        kept[self.order[:gone]] = False
        return kept


def gram(activations: NDArray[np.float32], *, constant: bool) -> Matrix:
    """A'A of [rows, channels], of the last column being 1 for each row where a `constant` can be added."""
    columns = np.hstack([activations, np.ones((len(activations), 1), np.float32)]) if constant else activations
    product: Matrix = columns.T.astype(np.float64) @ columns.astype(np.float64)
    return product


def eliminate(gram: Matrix, weights: Matrix) -> Elimination:
    """Of `weights` [channels, outputs]; a constant in `gram` stays to the last."""
    channels = len(weights)
    rest = np.vstack([weights, np.zeros((len(gram) - channels, weights.shape[1]))])
    inverse = np.linalg.inv(_ridged(gram))
    total = float(np.sum(rest * (gram @ rest))) or 1.0
    alive = np.arange(len(gram)) < channels
    order, cost = np.empty(channels, dtype=np.intp), np.empty(channels)
    for step in range(channels):
        saliency = np.sum(rest**2, axis=1) / np.maximum(np.diag(inverse), np.finfo(np.float64).tiny)
        least = int(np.argmin(np.where(alive, saliency, np.inf)))
        order[step], cost[step] = least, saliency[least] / total
        column = inverse[:, least] / inverse[least, least]
        rest -= np.outer(column, rest[least])
        inverse -= np.outer(column, inverse[least])
        alive[least], rest[least], inverse[least], inverse[:, least] = False, 0.0, 0.0, 0.0
        inverse[least, least] = 1.0
    return Elimination(order, np.cumsum(cost))


def refitted(gram: Matrix, kept: NDArray[np.bool_]) -> Matrix:
    """T of [kept channels and constant, channels]: A is nearest to A_kept T, so W becomes T W."""
    stays = np.concatenate([kept, np.ones(len(gram) - len(kept), dtype=np.bool_)])
    ridged = _ridged(gram)
    solved: Matrix = np.linalg.solve(ridged[np.ix_(stays, stays)], ridged[stays][:, : len(kept)])
    solved[:, kept] = np.eye(len(solved))[:, : kept.sum()]
    return solved


def _ridged(gram: Matrix) -> Matrix:
    return gram + np.eye(len(gram)) * (_RIDGE * float(np.trace(gram)) / len(gram) or 1.0)
