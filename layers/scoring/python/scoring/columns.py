"""Which columns a model's inputs are read from, and what its outputs are called among them: by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod

from modelserve.manifest import TensorSpec

from .errors import ColumnsMissing, OutputTaken, UnsuitableModel
from .plan import Signature

__all__ = ["bind", "check_rows", "name_outputs", "width"]

_SHOWN = 20


def width(spec: TensorSpec) -> int:
    """Elements of one row."""
    return prod(spec.shape[1:])


def check_rows(model: Signature) -> None:
    """Raises `UnsuitableModel` unless the inputs of `model` are rows of a known width, and each output has one entry a row."""
    for spec in (*model.inputs, *model.outputs):
        if not spec.shape or spec.shape[0] != -1:
            reason = f"{spec.name!r} has shape {list(spec.shape)}; expected -1, any number of rows, as its first dimension"
            raise UnsuitableModel(f"{model.name} can't score a data set: {reason}; publish a version without a fixed batch")
    for spec in model.inputs:
        if any(size < 0 for size in spec.shape[1:]):
            reason = f"input {spec.name!r} has shape {list(spec.shape)}; expected a fixed size of every dimension but the first"
            raise UnsuitableModel(f"{model.name} can't score a data set: {reason}")


def bind(
    inputs: Sequence[TensorSpec], found: Sequence[str], path: str, *, given: Mapping[str, str | Sequence[str]], lists: bool
) -> dict[str, tuple[str, ...]]:
    """Every input's columns among those `found` in the file at `path`; a single column of a wider input holds lists.

    `lists` says whether the format has them. Raises `ColumnsMissing`.
    """
    if unknown := given.keys() - {spec.name for spec in inputs}:
        names = ", ".join(repr(spec.name) for spec in inputs)
        raise ColumnsMissing(f"columns are given for {min(unknown)!r}, which is no input of the model; expected some of {names}")
    times = Counter(found)
    bound = {spec.name: _columns(spec, times, path, given.get(spec.name), lists=lists) for spec in inputs}
    for name, columns in bound.items():
        for column in columns:
            if times[column] > 1:
                raise ColumnsMissing(f"{path} has {times[column]} columns {column!r}, of which input {name!r} needs one; rename the others")
    return bound


def _columns(spec: TensorSpec, times: Counter[str], path: str, given: str | Sequence[str] | None, *, lists: bool) -> tuple[str, ...]:
    size = width(spec)
    whole, numbered = (spec.name,), tuple(f"{spec.name}_{index}" for index in range(size))
    if given is not None:
        choices = [(given,) if isinstance(given, str) else tuple(given)]
        if len(choices[0]) not in ({1, size} if lists else {size}):
            raise ColumnsMissing(f"input {spec.name!r} is given {len(choices[0])} columns; expected {size}, in the model's order")
    elif size == 1:
        choices = [whole]
    else:
        choices = [whole, numbered] if lists else [numbered]
    fitting = [choice for choice in choices if all(column in times for column in choice)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        both = f"a column {spec.name!r} and columns {numbered[0]!r} to {numbered[-1]!r}"
        raise ColumnsMissing(f"{path} has {both} for input {spec.name!r}; say which are meant with `columns`, or rename one")
    missing = [column for column in choices[-1] if column not in times]
    raise ColumnsMissing(
        f"{path} has no column {_some(missing)}; input {spec.name!r} ({spec.datatype} {list(spec.shape)}) needs "
        f"{' or '.join(_described(choice, size) for choice in choices)}; found {_some(list(times)) or 'no columns'}; "
        f"rename columns, or bind others with `columns`"
    )


def name_outputs(outputs: Sequence[TensorSpec], found: Sequence[str], path: str, *, prefix: str) -> dict[str, str]:
    """Every output's column. Raises `OutputTaken` where the file has one of that name."""
    named = {spec.name: prefix + spec.name for spec in outputs}
    if taken := [column for column in named.values() if column in found]:
        raise OutputTaken(path, taken)
    return named


def _described(columns: tuple[str, ...], size: int) -> str:
    if len(columns) == 1:
        return f"{columns[0]!r}" if size == 1 else f"{columns[0]!r} with lists of {size}"
    return f"{columns[0]!r} to {columns[-1]!r}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"{name!r:.60}" for name in names[:_SHOWN]) + more
