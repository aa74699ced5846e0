"""Classes as their places among the names that a person reads, whatever values train.py and the graph have for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Classified", "classified"]


@dataclass(frozen=True, eq=False)
class Classified:
    """What is true of n rows beside what was answered."""

    names: tuple[str, ...]
    """Of the known classes in the order of the probabilities, then of others that were answered."""
    truth: NDArray[np.intp]
    """[n], places in `names`."""
    label: NDArray[np.intp]
    """[n], as `truth`."""
    scores: NDArray[np.float64] | None
    """[n, known classes], finite; None where the answers have none for each class."""

    @property
    def probabilities(self) -> NDArray[np.float64] | None:
        """`scores` where they are probabilities, scaled to a sum of exactly 1; None where they are something else."""
        if self.scores is None or (self.scores < 0).any():
            return None
        sums = self.scores.sum(axis=1, keepdims=True)
        return self.scores / sums if np.allclose(sums, 1, atol=0.01) else None

    def at(self, rows: NDArray[Any]) -> Classified:
        """Some of the rows."""
        return Classified(self.names, self.truth[rows], self.label[rows], None if self.scores is None else self.scores[rows])


def classified(y: Any, answers: Mapping[str, NDArray[Any]], *, known: Any = None, labels: Sequence[str] = ()) -> Classified:
    """`known` is a y of all rows there are, None where `y` has every class; `labels` name its classes, sorted.

    Of text the labels are the classes, and the probabilities are in their order.
    """
    truth, label = _flat(y), _flat(answers["label"])
    classes, names = _classes(np.unique(truth if known is None else _flat(known)), tuple(labels))
    classes, truth, label = _comparable(classes, truth, label)
    others = np.setdiff1d(np.union1d(truth, label), classes)
    every = np.concatenate([classes, others])
    order = np.argsort(every)
    truth, label = (order[np.searchsorted(every, values, sorter=order)] for values in (truth, label))
    return Classified((*names, *map(str, others)), truth, label, _scores(answers.get("probabilities"), len(classes)))


def _classes(found: NDArray[Any], labels: tuple[str, ...]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The values of the classes in the order of the probabilities, and their names. Labels may name more classes than the rows have."""
    if len(labels) > len(found) and found.dtype.kind in "iu" and found.min() >= 0 and found.max() < len(labels):
        return np.arange(len(labels)), labels
    if found.dtype.kind == "U" and set(labels) & set(found.tolist()):  # text is its own name, and a graph's columns are as labels
        every = np.concatenate([np.array(labels), np.setdiff1d(found, labels)])
        return every, tuple(every.tolist())
    return found, labels if len(labels) == len(found) else tuple(map(str, found))


def _comparable(*arrays: NDArray[Any]) -> list[NDArray[Any]]:
    """As numbers where some are and all can be: 1.0 is "1"; otherwise as text."""
    if any(array.dtype.kind in "biuf" for array in arrays):
        with suppress(TypeError, ValueError):
            return [array.astype(np.float64) for array in arrays]
    return [array.astype(np.str_) for array in arrays]


def _flat(values: Any) -> NDArray[Any]:
    """Of objects what they are: numbers, truth or text."""
    found = np.asarray(values).ravel()
    return np.array(found.tolist()) if found.dtype.kind == "O" else found


def _scores(scores: NDArray[Any] | None, count: int) -> NDArray[np.float64] | None:
    if scores is None or scores.ndim != 2 or scores.shape[1] != count or not np.isfinite(scores).all():
        return None
    return scores.astype(np.float64)
