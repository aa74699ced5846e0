"""Triton's classification extension: the highest values of an output by index and label, instead of the values."""

from __future__ import annotations

from math import prod
from operator import itemgetter

from .errors import InvalidInput
from .tensors import Tensor, encode_bytes, to_list

__all__ = ["classify"]


def classify(tensor: Tensor, count: int, labels: tuple[str, ...]) -> Tensor:
    """A BYTES tensor of shape [rows, count] whose elements are `value:index:label`, highest value first.

    The last dimension holds the classes. `labels` are used where there is one for each class; `count` is cut to the
    number of classes. Raises `InvalidInput` for an output without numbers.
    """
    if tensor.datatype in {"BYTES", "BOOL", "FP16", "BF16"} or not tensor.shape:
        raise InvalidInput(f"output {tensor.name!r} is {tensor.datatype} {list(tensor.shape)}; classification takes rows of numbers")
    classes = tensor.shape[-1]
    if len(labels) != classes:
        labels = ()
    values = to_list(tensor)
    write = "{:f}".format if tensor.datatype in {"FP32", "FP64"} else str
    elements = []
    for start in range(0, prod(tensor.shape), classes or 1):
        row = enumerate(values[start : start + classes])
        for index, value in sorted(row, key=itemgetter(1), reverse=True)[:count]:
            elements.append(f"{write(value)}:{index}:{labels[index]}" if labels else f"{write(value)}:{index}")
    shape = (*tensor.shape[:-1], min(count, classes))
    return Tensor(tensor.name, "BYTES", shape, encode_bytes([element.encode() for element in elements]))
