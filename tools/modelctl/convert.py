"""Turns a fitted estimator into an ONNX model whose bytes are the same each time: skl2onnx's, or the graph that it brings itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import TensorProto
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import BooleanTensorType, FloatTensorType, Int64TensorType, StringTensorType
from skl2onnx.common.utils_sklearn import enumerate_model_names
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction.text import CountVectorizer

from modelserve.manifest import TensorSpec
from tools.modelctl import graphs
from tools.modelctl.data import DATATYPES, INPUT, tensors
from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks.advice import advise

__all__ = ["OPSETS", "OUTPUTS", "convert", "datatype", "opsets", "signature"]

OPSETS = {"": 18, "ai.onnx.ml": 3}
"""Old enough for every runtime in use, Triton's too; IsolationForest converts at no newer one."""
OUTPUTS = {"classification": ("label", "probabilities"), "regression": ("prediction",), "clustering": ("label", "distances")}
"""Names of a served model's answers, by task; a custom one has its own."""
_LOCALE = {"locale": "C.UTF-8"}
"""Of every machine; skl2onnx's own, en_US.UTF-8, is not in AWS's image."""
_LETTER = r"[\p{L}\p{N}_]"
_WORDS = {
    CountVectorizer().token_pattern: f"{_LETTER}{{2,}}",
    **dict.fromkeys((r"(?u)\b\w+\b", r"\b\w+\b", r"(?u)\w+", r"\w+"), f"{_LETTER}+"),
}
"""What scikit-learn takes for a word, unless told otherwise or where one letter makes one, as RE2 says it, whose \\w is ASCII."""
_NOWHERE = {"Solve"}
"""Operators that skl2onnx may write and no runtime has."""
_TYPES = {"FP32": FloatTensorType, "INT64": Int64TensorType, "BOOL": BooleanTensorType, "BYTES": StringTensorType}
_DATATYPES: dict[int, str] = {
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
    TensorProto.UINT16: "UINT16",
    TensorProto.UINT32: "UINT32",
    TensorProto.UINT64: "UINT64",
    TensorProto.INT8: "INT8",
    TensorProto.INT16: "INT16",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.FLOAT: "FP32",
    TensorProto.DOUBLE: "FP64",
    TensorProto.STRING: "BYTES",
}


def convert(name: str, task: str, estimator: Any, X: Any) -> onnx.ModelProto:
    """The graph is named after the model and its outputs after the task.

    An estimator's own `to_onnx(name)` goes before skl2onnx. Raises `BuildFailed` for one that can't be converted, or whose own graph
    isn't a model for rows like `X`.
    """
    return _brought(name, task, estimator, X) if hasattr(estimator, "to_onnx") else _converted(name, task, estimator, tensors(X))


def datatype(model: onnx.ModelProto) -> DTypeLike:
    """Of numbers in an array: what the graph takes them as, INT64 only where it says so."""
    return np.int64 if any(spec.name == INPUT and spec.datatype == "INT64" for spec in signature(model)[0]) else np.float32


def _brought(name: str, task: str, estimator: Any, X: Any) -> onnx.ModelProto:
    try:
        model = estimator.to_onnx(name)
        if not isinstance(model, onnx.ModelProto):
            raise TypeError(f"it answered a {type(model).__name__}; expected an onnx.ModelProto")
        onnx.checker.check_model(model)
        inputs, outputs = signature(model)
    except BuildFailed:
        raise
    except Exception as error:  # whatever a train.py or onnx raises is told
        raise BuildFailed(f"to_onnx() in models/{name}/train.py failed: {type(error).__name__}: {str(error).strip()}") from error
    rows = tuple(
        TensorSpec(name=tensor, datatype=DATATYPES[values.dtype.name], shape=(-1, *values.shape[1:]))
        for tensor, values in tensors(X, datatype(model)).items()
    )
    named = tuple(spec.name for spec in outputs)
    if not _takes(inputs, rows) or named != OUTPUTS.get(task, named):
        raise BuildFailed(
            f"to_onnx() in models/{name}/train.py answered a graph from {_shown(inputs)} to {_shown(outputs)}; "
            f"expected one from {_shown(rows)} to {', '.join(OUTPUTS.get(task, named))}"
        )
    return model


def _takes(inputs: tuple[TensorSpec, ...], rows: tuple[TensorSpec, ...]) -> bool:
    """Any number of rows; of the rest of a shape the graph may leave open what it likes."""
    if [(spec.name, spec.datatype, len(spec.shape)) for spec in inputs] != [(spec.name, spec.datatype, len(spec.shape)) for spec in rows]:
        return False
    sizes = [pair for given, row in zip(inputs, rows, strict=True) for pair in zip(given.shape[1:], row.shape[1:], strict=True)]
    return all(spec.shape[0] == -1 for spec in inputs) and all(size in {-1, wanted} for size, wanted in sizes)


def _shown(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name} {spec.datatype} {list(spec.shape)}" for spec in specs)


def _converted(name: str, task: str, estimator: Any, inputs: dict[str, NDArray[Any]]) -> onnx.ModelProto:
    types = [(tensor, _TYPES[DATATYPES[values.dtype.name]]([None, *values.shape[1:]])) for tensor, values in inputs.items()]
    outputs = [(output, None) for output in OUTPUTS[task]]
    parts = [part for _, part in enumerate_model_names(estimator)]
    _boosted(parts)
    try:
        _refuse_silent(parts)
        # A probability for each class in one tensor: the protocol has no list of maps, which zipmap would make.
        options = _text_options(parts) | ({id(estimator): {"zipmap": False}} if task == "classification" else {})
        with warnings.catch_warnings(), _convertible(parts):
            # skl2onnx reads SVC's probA_ and probB_, which scikit-learn is about to remove, even when there are none.
            warnings.filterwarnings("ignore", message="Attribute `prob[AB]_`", category=FutureWarning)
            model: onnx.ModelProto = convert_sklearn(
                estimator, name=name, initial_types=types, target_opset=OPSETS, options=options, final_types=outputs, black_op=_NOWHERE
            )
    except Exception as error:
        told = advise(error, "scikit-learn")
        raise BuildFailed(f"{name} can't be converted to ONNX: {told}; change the estimator in models/{name}/train.py") from error
    _settle(model)
    return model


def _settle(model: onnx.ModelProto) -> None:
    """Without what differs from process to process, constants that nothing reads, and a number of rows that a converter states wrongly."""
    # skl2onnx writes them in the order of a set of strings.
    imports = sorted(model.opset_import, key=lambda opset: opset.domain)
    del model.opset_import[:]
    model.opset_import.extend(imports)
    read = {name for node in graphs.nodes(model) for name in node.input} | {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for value in model.graph.output:
        if (first := value.type.tensor_type.shape.dim[:1]) and first[0].HasField("dim_value"):
            first[0].ClearField("dim_value")


def _refuse_silent(parts: list[Any]) -> None:
    """What skl2onnx leaves out without a word raises `NotImplementedError`, as what it refuses itself does."""
    for part in parts:
        if callable(getattr(part, "analyzer", None)):
            raise NotImplementedError("Custom analyzer cannot be converted")
        if getattr(part, "add_indicator", False):
            raise NotImplementedError("add_indicator=True cannot be converted")


def _boosted(parts: list[Any]) -> None:
    for part in parts:
        if type(part).__module__.startswith(("xgboost.", "lightgbm.")):
            from tools.modelctl.frameworks import boosting  # noqa: PLC0415 - such a step needs an extra

            boosting.register(part)


@contextmanager
def _convertible(parts: list[Any]) -> Iterator[None]:
    """Soft votes as skl2onnx knows them: how transform() would answer, which nobody asks for, and weights as an array."""
    voting = [part for part in parts if isinstance(part, VotingClassifier) and part.voting == "soft"]
    kept = [(part, part.flatten_transform, part.weights) for part in voting]
    for part in voting:
        part.flatten_transform = False
        part.weights = None if part.weights is None else np.asarray(part.weights)
    try:
        yield
    finally:
        for part, flatten, weights in kept:
            part.flatten_transform, part.weights = flatten, weights


def signature(model: onnx.ModelProto) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs as the graph declares them, a dimension without a number as -1."""
    return tuple(_spec(value) for value in model.graph.input), tuple(_spec(value) for value in model.graph.output)


def opsets(model: onnx.ModelProto) -> dict[str, int]:
    """Version of each operator set, by domain; the default domain is the empty string."""
    return {opset.domain: opset.version for opset in sorted(model.opset_import, key=lambda opset: opset.domain)}


def _text_options(parts: list[Any]) -> dict[int, dict[str, Any]]:
    return {id(part): _LOCALE | _tokens(part) for part in parts if isinstance(part, CountVectorizer)}  # TfidfVectorizer is one


def _tokens(part: CountVectorizer) -> dict[str, str]:
    return {"tokenexp": _WORDS[part.token_pattern]} if part.analyzer == "word" and part.token_pattern in _WORDS else {}


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    if tensor.elem_type not in _DATATYPES:
        raise BuildFailed(f"tensor {value.name!r} has ONNX type {value.type.WhichOneof('value')!r}, which the protocol can't carry")
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    return TensorSpec(name=value.name, datatype=_DATATYPES[tensor.elem_type], shape=shape)
