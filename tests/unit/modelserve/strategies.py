"""Requests that a client may send, right ones and others."""

import json
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelserve.tensors import DATATYPES

DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
BINARY_ONLY = {"FP16", "BF16"}
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
shapes = st.lists(st.integers(1, 4), max_size=4).map(tuple)


def arrays(datatype: str, shape: tuple[int, ...], *, finite: bool) -> st.SearchStrategy[np.ndarray]:
    """What a caller holds before a client encodes it."""
    if datatype == "BYTES":
        return hnp.arrays(np.dtype(object), shape, elements=text.map(str.encode))
    if datatype == "BF16":
        bits = hnp.arrays(np.dtype("<u2"), shape, elements=st.integers(0, 0x7F00 if finite else 0xFFFF))
        return bits.map(lambda array: array.view(ml_dtypes.bfloat16))
    dtype = DTYPES[datatype]
    if dtype.kind == "f":
        elements = hnp.from_dtype(dtype, allow_nan=not finite, allow_infinity=not finite)
        return hnp.arrays(dtype, shape, elements=elements)
    return hnp.arrays(dtype, shape)


@st.composite
def tensors(draw: st.DrawFn, *, binary: bool) -> tuple[str, np.ndarray]:
    """A datatype and an array of it; for JSON only what JSON can carry there and back."""
    datatype = draw(st.sampled_from(sorted(set(DATATYPES) - (set() if binary else BINARY_ONLY))))
    return datatype, draw(arrays(datatype, draw(shapes), finite=not binary))


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["x", "y", "FP32", "BYTES", "BF16", "INT64", "", "\ud800"])
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
"""Any JSON value, numbers outside of any datatype and lone surrogates with it."""

_sizes = st.integers(-1, 5) | st.sampled_from([2**31, 2**62, 2**63, 10**30])
_parameters = st.dictionaries(
    st.sampled_from(["binary_data_size", "binary_data", "binary_data_output", "classification", "shared_memory_region", "other"]),
    st.integers(-2, 20) | st.booleans() | anything,
    max_size=3,
)
_data = st.lists(st.floats() | st.integers() | st.text(max_size=3) | st.booleans() | st.none(), max_size=6) | st.lists(
    st.lists(st.floats(width=32), max_size=3), max_size=3
)


def _mostly(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(right, right, right, anything)


_inputs = st.fixed_dictionaries(
    {},
    optional={
        "name": _mostly(st.sampled_from(["x", "z"])),
        "datatype": _mostly(st.sampled_from(sorted(DATATYPES))),
        "shape": _mostly(st.lists(_sizes, max_size=3)),
        "data": _mostly(_data),
        "parameters": _mostly(_parameters),
    },
)
_outputs = st.fixed_dictionaries({}, optional={"name": _mostly(st.sampled_from(["y", "z"])), "parameters": _mostly(_parameters)})
almost_requests = st.fixed_dictionaries(
    {"inputs": _mostly(st.lists(_inputs, max_size=3))},
    optional={"id": anything, "parameters": _mostly(_parameters), "outputs": _mostly(st.lists(_outputs, max_size=3))},
)
"""Documents with the protocol's own keys and values that are sometimes right."""


@st.composite
def mutations(draw: st.DrawFn, original: bytes) -> bytes:
    """`original` with a few bytes replaced, inserted or cut out."""
    mutated = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(mutated)))
        mutated[start : start + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=3) | st.sampled_from([b"-1", b"NaN", b"[", b"null", b'"'])
        )
    return bytes(mutated)


def dumped(value: Any) -> bytes:
    """As Python's clients write it: NaN tokens, and lone surrogates as escapes."""
    return json.dumps(value).encode()
