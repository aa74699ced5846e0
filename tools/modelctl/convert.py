"""Turns a fitted scikit-learn estimator into an ONNX model whose bytes are the same each time."""

from __future__ import annotations

import warnings
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import BooleanTensorType, FloatTensorType, Int64TensorType, StringTensorType
from skl2onnx.common.utils_sklearn import enumerate_model_names
from sklearn.feature_extraction.text import CountVectorizer

from modelserve.manifest import TensorSpec
from tools.modelctl.data import DATATYPES
from tools.modelctl.errors import BuildFailed

__all__ = ["OPSETS", "OUTPUTS", "convert", "opsets", "signature"]

OPSETS = {"": 18, "ai.onnx.ml": 3}
"""Old enough for every runtime in use, Triton's too; IsolationForest converts at no newer one."""
OUTPUTS = {"classification": ("label", "probabilities"), "regression": ("prediction",), "clustering": ("label", "distances")}
"""Names of a served model's answers, by task."""
_LOCALE = {"locale": "C.UTF-8"}
"""Of every machine; skl2onnx's own, en_US.UTF-8, is not in AWS's image."""
_WORD = r"[\p{L}\p{N}_]{2,}"
"""What scikit-learn takes for a word unless told otherwise, as RE2 says it; skl2onnx's own leaves out letters beyond ASCII."""
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


def convert(name: str, task: str, estimator: Any, inputs: dict[str, NDArray[Any]]) -> onnx.ModelProto:
    """The graph is named after the model and its outputs after the task. Raises `BuildFailed` when skl2onnx can't convert it."""
    types = [(tensor, _TYPES[DATATYPES[values.dtype.name]]([None, *values.shape[1:]])) for tensor, values in inputs.items()]
    # A probability for each class in one tensor: the protocol has no list of maps, which zipmap would make.
    options = _text_options(estimator) | ({id(estimator): {"zipmap": False}} if task == "classification" else {})
    outputs = [(output, None) for output in OUTPUTS[task]]
    try:
        with warnings.catch_warnings():
            # skl2onnx reads SVC's probA_ and probB_, which scikit-learn is about to remove, even when there are none.
            warnings.filterwarnings("ignore", message="Attribute `prob[AB]_`", category=FutureWarning)
            model: onnx.ModelProto = convert_sklearn(
                estimator, name=name, initial_types=types, target_opset=OPSETS, options=options, final_types=outputs
            )
    except Exception as error:
        raise BuildFailed(
            f"{name} can't be converted to ONNX: {type(error).__name__}: {str(error).strip().splitlines()[0]}. "
            f"docs/models.md lists what converts; change the estimator in models/{name}/train.py"
        ) from error
    # skl2onnx writes them in the order of a set of strings, which differs from process to process.
    imports = sorted(model.opset_import, key=lambda opset: opset.domain)
    del model.opset_import[:]
    model.opset_import.extend(imports)
    return model


def signature(model: onnx.ModelProto) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs as the graph declares them, a dimension without a number as -1."""
    return tuple(_spec(value) for value in model.graph.input), tuple(_spec(value) for value in model.graph.output)


def opsets(model: onnx.ModelProto) -> dict[str, int]:
    """Version of each operator set, by domain; the default domain is the empty string."""
    return {opset.domain: opset.version for opset in sorted(model.opset_import, key=lambda opset: opset.domain)}


def _text_options(estimator: Any) -> dict[int, dict[str, Any]]:
    parts = [part for _, part in enumerate_model_names(estimator) if isinstance(part, CountVectorizer)]  # TfidfVectorizer is one
    usual = CountVectorizer().token_pattern
    return {id(part): _LOCALE | ({"tokenexp": _WORD} if part.analyzer == "word" and part.token_pattern == usual else {}) for part in parts}


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    if tensor.elem_type not in _DATATYPES:
        raise BuildFailed(f"tensor {value.name!r} has ONNX type {value.type.WhichOneof('value')!r}, which the protocol can't carry")
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    return TensorSpec(name=value.name, datatype=_DATATYPES[tensor.elem_type], shape=shape)
