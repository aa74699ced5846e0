"""Networks of Keras and TensorFlow: a Keras model or a SavedModel, from train() or from a file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tools.modelctl.convert import OPSETS
from tools.modelctl.errors import BuildFailed, first_line
from tools.modelctl.frameworks import Context, extra
from tools.modelctl.frameworks.advice import advise
from tools.modelctl.frameworks.nets import Net, Tensors, inputs, quiet
from tools.modelctl.frameworks.operators import check_saved_model
from tools.modelctl.frameworks.tidy import renumber

__all__ = ["adapt", "load"]

_Call = Callable[[Mapping[str, Any]], Any]
_SERVING = "serving_default"
"""The signature of a SavedModel that is served."""
_EXPORT = "return the model itself from train(), or save it by model.export(FOLDER), which writes a SavedModel that needs no Python code"


def adapt(trained: Any, context: Context) -> Net:
    """A Keras model as it predicts, or what tf.saved_model.load answers. Raises `BuildFailed`."""
    tensorflow, keras = _frameworks()
    if isinstance(trained, keras.Model):
        call: _Call = partial(_call_keras, trained)
        kinds = [str(each.dtype) for each in getattr(trained, "inputs", None) or ()]
    elif _SERVING in getattr(trained, "signatures", {}):
        call, kinds = _signature(tensorflow, trained)
    else:
        found = type(trained).__name__
        raise BuildFailed(f"train() answered a {found} of TensorFlow; expected a Keras model, or a SavedModel that has {_SERVING}")
    forward = partial(_forward, tensorflow, call)
    return Net(
        framework=f"keras {keras.__version__}",
        context=context,
        takes=lambda X: inputs(X, _wide(kinds), forward),
        forward=forward,
        export=partial(_export, tensorflow, call),
    )


def load(path: Path, context: Context) -> Any:  # noqa: ARG001 - as every adapter's
    """A .keras or .h5 file, or the folder of a SavedModel; no Python code in it is run. Raises `BuildFailed`."""
    tensorflow, keras = _frameworks()
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        raise BuildFailed(f"{path.name} is a folder without saved_model.pb; expected a SavedModel, as model.export(FOLDER) writes it")
    try:
        with quiet():
            if path.is_dir():
                check_saved_model(path)
                return tensorflow.saved_model.load(str(path))
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except BuildFailed:
        raise
    except Exception as error:  # Keras' own have no common base
        raise BuildFailed(_refused(path, error)) from error


def _refused(path: Path, error: Exception) -> str:
    text = str(error)
    if "Lambda" in text:
        return f"{path.name} has a Lambda layer, which is Python code that would run as it is opened; {_EXPORT}"
    if own := re.search(r"(?:Could not locate \w+|Unknown \w+:) '(\w+)'", text):
        return f"{path.name} has {own[1]}, a class of its own, which the file doesn't hold; {_EXPORT}"
    return (
        f"{path.name} is no model of Keras that can be opened: {first_line(error, named=True)}; save it again by model.save('NAME.keras')"
    )


def _frameworks() -> tuple[Any, Any]:
    """TensorFlow and Keras, which runs on it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet():
        tensorflow, keras = extra("keras", "tensorflow"), extra("keras", "keras")
    if keras.backend.backend() != "tensorflow":
        raise BuildFailed(f"Keras runs on {keras.backend.backend()} here; set KERAS_BACKEND=tensorflow")
    return tensorflow, keras


def _wide(kinds: list[str]) -> list[Any]:
    """What an array is served as; a network that says nothing of its inputs is tried."""
    if not kinds:
        return [np.float32, np.int64]
    return [np.int64 if kinds[0].startswith(("int", "uint")) else np.float32]


def _call_keras(net: Any, rows: Mapping[str, Any]) -> Any:
    """Keras casts to what its inputs say, and finds these by name."""
    return net(dict(rows) if len(rows) > 1 or isinstance(getattr(net, "input", None), dict) else next(iter(rows.values())), training=False)


def _signature(tensorflow: Any, saved: Any) -> tuple[_Call, list[str]]:
    specs = saved.signatures[_SERVING].structured_input_signature[1]

    def call(rows: Mapping[str, Any]) -> Any:
        names = dict(zip(rows, specs, strict=True)) if len(rows) == len(specs) == 1 else {name: name for name in rows}
        if set(names.values()) != set(specs):
            raise BuildFailed(
                f"the SavedModel takes {', '.join(specs)}, and X has {', '.join(rows)}; let load() answer X as a dict with those"
            )
        function = saved.signatures[_SERVING]  # which holds its variables only as long as `saved` is there
        return function(**{names[name]: tensorflow.cast(values, specs[names[name]].dtype) for name, values in rows.items()})

    return call, [spec.dtype.name for spec in specs.values()]


def _forward(tensorflow: Any, call: Any, rows: Tensors) -> Tensors:
    with quiet():
        return {
            name: values.numpy() for name, values in _outputs(call({name: tensorflow.constant(of) for name, of in rows.items()})).items()
        }


def _outputs(answer: Any) -> dict[str, Any]:
    """By name, in the order of the network's own."""
    if isinstance(answer, tuple | list):
        answer = {f"output_{place}": each for place, each in enumerate(answer)}
    elif not isinstance(answer, Mapping):
        answer = {"output": answer}
    if not all(hasattr(each, "numpy") or hasattr(each, "graph") for each in answer.values()):
        raise BuildFailed("the network answers something else than tensors; expected one, a list of them, or a dict of them by name")
    return {str(name): each for name, each in answer.items()}


def _export(tensorflow: Any, call: Any, rows: Tensors) -> onnx.ModelProto:
    tf2onnx = extra("keras", "tf2onnx")
    specs = [tensorflow.TensorSpec([None, *values.shape[1:]], values.dtype, name=name) for name, values in rows.items()]

    def answers(*values: Any) -> list[Any]:
        return [tensorflow.identity(each) for each in _outputs(call(dict(zip(rows, values, strict=True)))).values()]

    try:
        with quiet():
            model: onnx.ModelProto
            model, _ = tf2onnx.convert.from_function(tensorflow.function(answers, autograph=False), input_signature=specs, opset=OPSETS[""])
            onnx.checker.check_model(model)  # what has no operator in ONNX is left as TensorFlow names it
            renumber(model.graph)
            return model
    except Exception as error:  # tf2onnx' own have no common base
        raise BuildFailed(f"the network can't be converted to ONNX: {advise(error, 'keras')}") from error
