"""Gives a graph of any origin the inputs and outputs that a served model of its task has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from tools.modelctl.convert import OUTPUTS
from tools.modelctl.errors import BuildFailed, first_line
from tools.modelctl.frameworks.rows import FLOATS, INTEGERS, ROWS, Rows, open_rows, own_inputs, shown
from tools.modelctl.frameworks.tidy import clean, names, rename

__all__ = ["Kind", "answers", "kind_of", "served"]

Kind = Literal["probabilities", "logits", "values"]
"""What the numbers of a graph are: a classifier's probabilities, what a softmax or a sigmoid makes them of, or answers as they stand."""
_SUM = 1e-3  # how far a row of probabilities may be from 1
_LABELS = (*INTEGERS, TensorProto.STRING)
_CUSTOM = 'task = "custom" in model.toml serves a graph with outputs of its own'


def served(
    model: ModelProto, *, name: str, task: str, classes: Sequence[Any] = (), kind: Kind = "values", rows: Rows | None = None
) -> ModelProto:
    """A copy named `name`, from rows to what `OUTPUTS` has for the task; a custom one keeps its outputs.

    Its first dimension is dynamic. With `rows`, tensors by name in the order of the graph's inputs, it has their names, and what
    was of a fixed number of rows is run on others to prove that it may; without, its one input is `input`. A classifier answers [rows,
    classes], or one column [rows, 1] for the second of two, as `kind` says; or a label and [rows, classes], under any names. `classes`
    are in the order of the columns, none for 0, 1, ...: whole numbers make an INT64 `label`, anything else BYTES.
    Runs `model` where `rows` are given. Raises `BuildFailed`.
    """
    found = ModelProto()
    found.CopyFrom(model)
    found.graph.name = name
    clean(found)
    for value in found.graph.output:
        if value.type.WhichOneof("value") != "tensor_type":
            raise BuildFailed(f"{name} answers {shown(value)}, which the protocol can't carry; convert it with zipmap=False")
    own_inputs(found, rows)
    open_rows(found, model, rows, task)
    if task != "custom":
        _Head(found, task, classes, kind).attach()
    try:
        onnx.checker.check_model(found)
    except onnx.checker.ValidationError as error:
        raise BuildFailed(f"{name} is no valid ONNX graph: {first_line(error)}; convert it again") from error
    return found


def kind_of(task: str, outputs: Sequence[NDArray[Any]]) -> Kind:
    """What a model's outputs for some rows are, as these look. Raises `BuildFailed` for numbers of classes that may hold together."""
    if task != "classification" or not outputs:
        return "values"
    columns = _columns(outputs[-1])
    if columns.dtype.kind not in "fiu" or not np.all((columns >= 0) & (columns <= 1 + _SUM)):
        return "logits"
    if columns.shape[1] == 1 or np.allclose(columns.sum(axis=1), 1, rtol=0, atol=_SUM):
        return "probabilities"
    raise BuildFailed(
        f"the model answers {columns.shape[1]} numbers between 0 and 1 that don't add up to 1, as of classes that may hold together; "
        f"expected probabilities or logits of one class; end it in a softmax, or serve it as it is: {_CUSTOM}"
    )


def answers(task: str, outputs: Sequence[NDArray[Any]], *, classes: Sequence[Any] = (), kind: Kind = "values") -> dict[str, NDArray[Any]]:
    """What a graph that `served` made answers, reckoned from the outputs of the original: one, or a label and the numbers."""
    columns = _columns(outputs[-1]).astype(np.float32)
    if task == "regression":
        return {"prediction": columns}
    label = outputs[0].reshape(-1) if len(outputs) > 1 else None
    if label is not None and label.dtype.kind in "iu":
        label = label.astype(np.int64)
    if task == "clustering":
        return {"label": np.empty(0) if label is None else label, "distances": columns}
    columns = _probabilities(columns, kind)
    known = _classes(classes, columns.shape[1])
    if label is None:
        label = known[columns.argmax(axis=1)]
    elif label.dtype == np.int64 and known.dtype.kind == "O":
        label = known[label]
    return {"label": label, "probabilities": columns}


def _probabilities(columns: NDArray[Any], kind: Kind) -> NDArray[Any]:
    single = columns.shape[1] == 1
    if kind == "logits":
        with np.errstate(over="ignore"):
            powers = np.exp(-columns) if single else np.exp(columns - columns.max(axis=1, keepdims=True))
        columns = 1 / (1 + powers) if single else powers / powers.sum(axis=1, keepdims=True)
    return np.concatenate([1 - columns, columns], axis=1) if single else columns


def _columns(values: NDArray[Any]) -> NDArray[Any]:
    """[rows, columns] of [rows], or of what has further dimensions of 1."""
    return values.reshape(len(values), -1)


def _classes(classes: Sequence[Any], width: int) -> NDArray[Any]:
    """INT64, or text as objects. Raises `BuildFailed` unless there is one for each column."""
    if classes and len(classes) != width:
        raise BuildFailed(f"the model answers {width} numbers a row for {len(classes)} classes; expected one for each class")
    values = np.asarray(classes) if classes else np.arange(width)
    if values.dtype.kind in "iub" or (values.dtype.kind == "f" and np.all(values == values.round())):
        return values.astype(np.int64)
    return np.array([str(item) for item in values.tolist()], dtype=object)


class _Head:
    """Nodes at the end of a graph."""

    def __init__(self, model: ModelProto, task: str, classes: Sequence[Any], kind: Kind) -> None:
        self.model, self.task, self.classes, self.kind = model, task, classes, kind
        self.numbers = count()

    def attach(self) -> None:
        """Raises `BuildFailed` for outputs that can't be those of the task."""
        label, values = self._outputs()
        columns = self._cast(self._flat(values), values, TensorProto.FLOAT)
        width = self._width(values)
        *labelled, numbers = OUTPUTS[self.task]
        if self.task == "classification":
            columns, width = self._probabilities(columns, width)
        named = {columns: numbers}
        made = [helper.make_tensor_value_info(numbers, TensorProto.FLOAT, [ROWS, width])]
        for name in labelled:
            place = self._given(label) if label else self._add("ArgMax", columns, axis=1, keepdims=0)
            text = label is not None and label.type.tensor_type.elem_type == TensorProto.STRING
            if self.task == "classification":
                place, text = self._named(place, width, given=label is not None, text=text)
            named[place] = name
            made.insert(0, helper.make_tensor_value_info(name, TensorProto.STRING if text else TensorProto.INT64, [ROWS]))
        self._name(named)
        del self.model.graph.output[:]
        self.model.graph.output.extend(made)

    def _outputs(self) -> tuple[ValueInfoProto | None, ValueInfoProto]:
        """A label, if there is one, and the numbers."""
        outputs = list(self.model.graph.output)
        labels = [value for value in outputs if value.type.tensor_type.elem_type in _LABELS]
        numbers = [value for value in outputs if value.type.tensor_type.elem_type in FLOATS]
        wanted = {"classification": (0, 1), "regression": (0,), "clustering": (1,)}[self.task]
        if len(numbers) != 1 or len(labels) not in wanted:
            raise self._unfit(_CUSTOM)
        return (labels[0] if labels else None), numbers[0]

    def _width(self, values: ValueInfoProto) -> int | None:
        """Columns. Raises `BuildFailed` unless it is [rows, columns], or that with further dimensions of 1."""
        shape = values.type.tensor_type.shape.dim
        if not values.type.tensor_type.HasField("shape") or not shape or any(dim.dim_value != 1 for dim in shape[2:]):
            raise self._unfit(_CUSTOM)
        width = max(shape[1].dim_value, 0) if len(shape) > 1 else 1
        if self.task == "classification" and not width:
            raise self._unfit("and how many classes it has must be known; name the size of that dimension when converting")
        return width or None

    def _probabilities(self, columns: str, width: int | None) -> tuple[str, int]:
        if self.kind == "logits":
            columns = self._add("Sigmoid", columns) if width == 1 else self._add("Softmax", columns, axis=1)
        if width != 1:
            return columns, int(width or 0)
        one = self._constant(np.ones(1, np.float32))
        return self._add("Concat", self._add("Sub", one, columns), columns, axis=1), 2

    def _named(self, place: str, width: int | None, *, given: bool, text: bool) -> tuple[str, bool]:
        """A given label is one of the classes already, unless it is a number and they are text."""
        classes = _classes(self.classes, width or 0)
        texts = classes.dtype.kind == "O"
        if (given and (text or not texts)) or (not given and np.array_equal(classes, np.arange(len(classes)))):
            return place, text
        return self._add("Gather", self._constant(classes), place, axis=0), texts

    def _given(self, label: ValueInfoProto) -> str:
        kind = label.type.tensor_type.elem_type
        place = self._add("Reshape", label.name, self._constant(np.array([-1])))
        return place if kind == TensorProto.STRING else self._cast(place, label, TensorProto.INT64)

    def _flat(self, values: ValueInfoProto) -> str:
        """Of one dimension a column, of more than two the first two."""
        return values.name if len(values.type.tensor_type.shape.dim) == 2 else self._add("Flatten", values.name, axis=1)

    def _cast(self, name: str, value: ValueInfoProto, to: int) -> str:
        return name if value.type.tensor_type.elem_type == to else self._add("Cast", name, to=to)

    def _add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = self._fresh()
        self.model.graph.node.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def _constant(self, values: NDArray[Any]) -> str:
        name = self._fresh()
        self.model.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def _fresh(self) -> str:
        taken = set(names(self.model.graph))
        return next(name for number in self.numbers if (name := f"head_{number}") not in taken)

    def _name(self, wanted: dict[str, str]) -> None:
        """An input or a constant that is answered as it is has its name already."""
        graph = self.model.graph
        taken = {value.name for value in (*graph.input, *graph.initializer)}
        rename(graph, {(self._add("Identity", old) if old in taken else old): new for old, new in wanted.items()})

    def _unfit(self, advice: str) -> BuildFailed:
        found = ", ".join(map(shown, self.model.graph.output))
        wanted = {
            "classification": "one tensor [rows, classes], with or without a label",
            "regression": "one tensor [rows, values]",
            "clustering": "a label and one tensor of distances [rows, clusters]",
        }[self.task]
        return BuildFailed(f"{self.model.graph.name} answers {found}; {self.task} needs {wanted}; {advice}")
