"""Scores held-out rows apart by the values of a column, since a good mean can hide a group that is served badly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.modelctl.errors import BuildFailed
from tools.modelctl.evaluate.features import Feature

__all__ = ["LEAST_ROWS", "slices"]

LEAST_ROWS = 20
"""Of a slice; fewer would be scored by chance."""
_MOST_VALUES = 12
Mask = NDArray[np.bool_]


def slices(
    columns: Sequence[str], features: Sequence[Feature], score: Callable[[NDArray[np.intp]], dict[str, float]]
) -> list[dict[str, Any]]:
    """By `columns`, or without any by each of text or truth with few values; numbers by quartile. `score` is given places of rows.

    Raises `BuildFailed` for a column that is not there.
    """
    found = []
    for feature in _chosen(columns, features):
        for value, mask in _groups(feature):
            if mask.sum() >= LEAST_ROWS:
                scored = {"rows": int(mask.sum()), "metrics": score(np.flatnonzero(mask))}
                found.append({"column": feature.name, "value": value, **scored})
    return found


def _chosen(columns: Sequence[str], features: Sequence[Feature]) -> list[Feature]:
    known = {feature.name: feature for feature in features if feature.column is not None}
    if missing := [name for name in columns if name not in known]:
        there = ", ".join(list(known)[:20]) + (", …" if len(known) > 20 else "")
        raise BuildFailed(f"slices in model.toml's [evaluate] names {', '.join(missing)}; expected columns of the rows: {there or 'none'}")
    few = (feature for feature in known.values() if feature.kind in {"text", "truth"} and len(_distinct(feature)) <= _MOST_VALUES)
    return [known[name] for name in columns] if columns else list(few)


def _distinct(feature: Feature) -> set[str]:
    return set(map(str, feature.values.tolist()))


def _groups(feature: Feature) -> list[tuple[str, Mask]]:
    if feature.kind != "number":
        text = feature.values.astype(str)
        values, counts = np.unique(text, return_counts=True)
        common = sorted(zip(-counts, values, strict=True))[:_MOST_VALUES]
        return [(str(value), text == value) for value in sorted(value for _, value in common)]
    values = feature.values.astype(np.float64)
    finite = values[np.isfinite(values)]
    distinct = np.unique(finite)
    if len(distinct) <= 4:
        return [(f"{value:g}", values == value) for value in distinct]
    bounds = _quartiles(finite)
    place = np.searchsorted(bounds, values, side="right")
    told = [f"{bound:.15g}" for bound in bounds]
    names = [f"< {told[0]}", *(f"{low} to {high}" for low, high in pairwise(told)), f">= {told[-1]}"]
    return [(name, (place == i) & np.isfinite(values)) for i, name in enumerate(names)]


def _quartiles(values: NDArray[np.float64]) -> list[float]:
    """Each to two digits of how far it is from the next: near enough to tell them apart, wherever the numbers lie."""
    quartiles = np.quantile(values, (0.25, 0.5, 0.75))
    others = np.unique(np.r_[quartiles, np.min(values), np.max(values)])
    gaps = [min(1e300, *abs(others[others != value] - value)) for value in quartiles]
    return sorted({round(float(value), 1 - math.floor(math.log10(gap))) + 0.0 for value, gap in zip(quartiles, gaps, strict=True)})
