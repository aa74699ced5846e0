"""How features and answers are distributed in the rows a model was made from, which drift is measured from later.

It goes with a version to whoever may read the store, so it holds no row: every bin and value in it stands for at least `TOGETHER` rows,
the outer bins are open, and numbers are rounded, so that none is a row's own.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tools.modelctl.data import Split
from tools.modelctl.evaluate.features import Feature, features
from tools.modelctl.parity import Answers, run

__all__ = ["SCHEMA", "TOGETHER", "baseline"]

SCHEMA = 1
TOGETHER = 5
"""Rows of which something is told, at least; values that fewer have are counted together."""
_BINS = 20
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
_VALUES = 50
_LONGEST = 64  # characters of a value; what is longer is no category
_LARGEST = 1e300
"""What is larger, infinite or NaN is counted as missing."""
_ANSWERED = 2_000
"""Rows whose answers are looked at: enough for how they are distributed, of a model that takes long for each."""


def baseline(model: Path, rows: Split, inputs: Answers) -> bytes:
    """JSON. `inputs` are the rows for training as tensors; the same rows and model give the same bytes. Raises `BuildFailed` as `run`."""
    some = {name: values[:_ANSWERED] for name, values in inputs.items()}
    document = {
        "schema": SCHEMA,
        "rows": rows.trained,
        "features": [_feature(feature) for feature in features(rows.X, inputs)],
        "answers": _answers(run(model, some)),
    }
    return orjson.dumps(document)


def _feature(feature: Feature) -> dict[str, Any]:
    place = {"input": feature.tensor} | ({} if feature.column is None else {"column": feature.column})
    return {"name": feature.name, "kind": feature.kind, **place, **_distribution(feature.values)}


def _answers(answers: Answers) -> dict[str, Any]:
    """Of a label its values, of probabilities the largest, of distances the smallest, of other numbers all."""
    found = {}
    for name, values in answers.items():
        match name:
            case "label":
                found["label"] = _categories(values.astype(np.str_).ravel())
            case "probabilities":
                found["top_probability"] = _numbers(values.max(axis=-1))
            case "distances":
                found["least_distance"] = _numbers(values.min(axis=-1))
            case _:
                found[name] = _distribution(values)
    return found


def _distribution(values: NDArray[Any]) -> dict[str, Any]:
    return _categories(values.astype(np.str_).ravel()) if values.dtype.kind in "bOUS" else _numbers(values)


def _categories(values: NDArray[np.str_]) -> dict[str, Any]:
    counts = Counter(values.tolist())
    common = [(value, count) for value, count in counts.items() if count >= TOGETHER and len(value) <= _LONGEST]
    common = sorted(common, key=lambda each: (-each[1], each[0]))[:_VALUES]
    told = [{"value": value, "count": count} for value, count in common]
    return {"categories": told, "other": len(values) - sum(count for _, count in common)}


def _numbers(values: NDArray[Any]) -> dict[str, Any]:
    """`counts` are those below the first edge, from each edge to the next, and from the last on: one more than there are edges."""
    wide = values.astype(np.float64).ravel()
    found = np.sort(wide[np.abs(wide) < _LARGEST])
    edges = _edges(found)
    counts = np.diff(np.r_[0, np.searchsorted(found, edges, side="left"), len(found)])
    shares = [share for share in _SHARES if min(share, 1 - share) * len(found) >= TOGETHER]
    quantiles = {f"{share:g}": value for share, value in zip(shares, _rounded(found, shares), strict=True)}
    return {"histogram": {"edges": edges, "counts": counts.tolist()}, "quantiles": quantiles, "missing": len(wide) - len(found)}


def _edges(found: NDArray[np.float64]) -> list[float]:
    """Of at most `_BINS` bins with as many values each, as far as values differ; none with fewer than `TOGETHER`."""
    count = min(_BINS, len(found) // TOGETHER)
    edges: list[float] = []
    below = 0
    rounded = sorted(set(_rounded(found, [number / count for number in range(1, count)])))
    for edge, place in zip(rounded, np.searchsorted(found, rounded, side="left").tolist(), strict=True):
        if place - below >= TOGETHER and len(found) - place >= TOGETHER:
            edges.append(edge)
            below = place
    return edges


def _rounded(found: NDArray[np.float64], shares: list[float]) -> list[float]:
    """Quantiles of sorted numbers, each to two digits of how far it is from the next: near enough to tell them apart, and no row's own."""
    if not shares:
        return []
    exact = np.quantile(found, shares)
    others = np.unique(np.r_[exact, found[0], found[-1]])
    gaps = np.diff(others)
    nearest = np.minimum(np.r_[gaps, np.inf], np.r_[np.inf, gaps])[np.searchsorted(others, exact)]
    return [_round(value, gap if np.isfinite(gap) else abs(value)) for value, gap in zip(exact.tolist(), nearest.tolist(), strict=True)]


def _round(value: float, gap: float) -> float:
    return (round(value, 1 - math.floor(math.log10(gap))) if gap else value) + 0.0  # no -0.0
