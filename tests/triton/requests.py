"""What is asked of every model on both targets: what a client may send, what none should, and each route; a seed always gives the same."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.hostile.case import Case
from tests.hostile.corpus import drawn, fixed
from tests.hostile.draft import HEADER_LENGTH, Draft
from tests.triton.samples import Sample

__all__ = ["hostile", "routes", "valid"]

_MANY = 70
"""Rows, more than any of the graphs' batches."""
_Change = Callable[[Draft, np.random.Generator], None]


def valid(sample: Sample, count: int, seed: int) -> Iterator[Case]:
    """`count` requests, each way to write one in turn; a model may still refuse what it is given."""
    rng = np.random.default_rng(seed)
    target = sample.target
    for number in range(count):
        name, change = list(_CHANGES.items())[number % len(_CHANGES)]
        rows = _MANY if number % 9 == 8 else int(rng.integers(1, 6))
        draft = Draft(target, sample.arrays(rng, rows), binary=bool(rng.integers(2)), binary_answer=bool(rng.integers(2)))
        change(draft, rng)
        yield draft.case("valid", name, 200, outputs=None)
    yield from _packed(sample, rng)


def hostile(samples: list[Sample], count: int, seed: int) -> Iterator[Case]:
    """Of the hostile corpus what is sent to these models: every fixed case of a body, and `count` drawn ones."""
    names = {sample.name for sample in samples}
    for case in (*fixed(), *drawn(count, seed)):
        if case.model in names and case.wire is None and not case.keyless and (not case.path or f"/models/{case.model}/" in case.path):
            yield case


def routes(sample: Sample) -> Iterator[Case]:
    """Metadata, readiness and versions, right ones and others."""
    model = f"/v2/models/{sample.name}"
    body = Draft(sample.target, sample.arrays(np.random.default_rng(0), 1)).case("routes", "", 200)
    for path in ("", "/ready", "/versions/production", "/versions/production/ready", "/versions/before", "/versions/before/ready"):
        yield _asked(body, path or "metadata", 200, method="GET", path=model + path)
    for version in ("production", "before"):
        yield _asked(body, f"infer of {version}", 200, path=f"{model}/versions/{version}/infer")
    for version in ("nowhere", "20990101T000000Z-00000000"):
        yield _asked(body, "infer of a version that is none", 404, path=f"{model}/versions/{version}/infer")
        yield _asked(body, "metadata of a version that is none", 404, method="GET", path=f"{model}/versions/{version}")
    yield _asked(body, "a method that is none", 405, method="PUT")


def _asked(case: Case, name: str, status: int, **changes: Any) -> Case:
    return Case(**{**vars(case), "name": name, "status": status, **changes})


def _packed(sample: Sample, rng: np.random.Generator) -> Iterator[Case]:
    """Compressed, and where there is one input nothing but its data."""
    draft = Draft(sample.target, sample.arrays(rng, 3))
    yield draft.case(
        "valid", "gzip", 200, body=gzip.compress(draft.body(), mtime=0), headers=(*draft.framed(), ("Content-Encoding", "gzip"))
    )
    (first, *others) = sample.draft.inputs
    if not others:
        for rows in (1, 3, _MANY):
            raw = Draft(sample.target, sample.arrays(rng, rows), binary=True)
            tail = raw.tail if first.datatype != "BYTES" else b"nothing but text"
            yield raw.case("valid", "nothing but data", 200, body=tail, headers=((HEADER_LENGTH, "0"),))


def _as_it_is(_draft: Draft, _rng: np.random.Generator) -> None:
    """Its inputs in the signature's order, all outputs."""


def _other_way_round(draft: Draft, _rng: np.random.Generator) -> None:
    if not draft.binary:  # whose data would have to be turned too
        draft.inputs.reverse()
    draft.document["id"] = "a request's own name, é"


def _some_outputs(draft: Draft, rng: np.random.Generator) -> None:
    names = list(rng.permutation(list(draft.target.outputs)))[: int(rng.integers(1, 4))]
    binary = draft.target.binary_only
    draft.document["outputs"] = [{"name": str(name), "parameters": {"binary_data": binary or bool(rng.integers(2))}} for name in names]


def _best_classes(draft: Draft, rng: np.random.Generator) -> None:
    name = str(rng.choice(list(draft.target.outputs)))
    draft.document["outputs"] = [
        {"name": name, "parameters": {"classification": int(rng.integers(1, 5)), "binary_data": bool(rng.integers(2))}}
    ]


def _no_number(draft: Draft, rng: np.random.Generator) -> None:
    """Not a number, or none that is finite, as JSON's tokens; where a model takes no floats, nothing."""
    for tensor in draft.inputs:
        if tensor["datatype"] in {"FP32", "FP64"} and "data" in tensor:
            tensor["data"][int(rng.integers(len(tensor["data"])))] = float(rng.choice([np.nan, np.inf, -np.inf]))


def _huge(draft: Draft, rng: np.random.Generator) -> None:
    for tensor in draft.inputs:
        if tensor["datatype"] in {"FP32", "FP64"} and "data" in tensor:
            tensor["data"] = [float(number) for number in rng.normal(0, 1e30, len(tensor["data"]))]


def _large(draft: Draft, _rng: np.random.Generator) -> None:
    """A number that a model may have no use for: one that looks up by it fails."""
    for tensor in draft.inputs:
        if tensor["datatype"] == "INT64" and "data" in tensor:
            tensor["data"][0] = 99


_CHANGES: dict[str, _Change] = {
    "as it is": _as_it_is,
    "other way round": _other_way_round,
    "some outputs": _some_outputs,
    "the best classes": _best_classes,
    "NaN and infinity": _no_number,
    "huge numbers": _huge,
    "a large number": _large,
}
