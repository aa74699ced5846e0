"""Scores held-out rows apart by the values of a column, since a good mean can hide a group that is served badly."""

from __future__ import annotations

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
    bounds = np.unique([float(f"{bound:.3g}") for bound in np.quantile(finite, (0.25, 0.5, 0.75))])
    place = np.searchsorted(bounds, values, side="right")
    names = [f"< {bounds[0]:g}", *(f"{low:g} to {high:g}" for low, high in pairwise(bounds)), f">= {bounds[-1]:g}"]
    return [(name, (place == i) & np.isfinite(values)) for i, name in enumerate(names)]
