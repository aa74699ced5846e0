"""What `train` may return, whatever framework made it: each becomes something that answers rows and writes its own ONNX graph.

A framework is an extra, imported by the module of this room that is named for it, and only once a model needs it. Such a module has
`adapt(trained, context) -> Adapted` and, where it opens files, `load(path, context)`, which runs in a process of its own (see child).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import onnx
from numpy.typing import NDArray

from models.config import ModelConfig
from tools.modelctl.data import Split
from tools.modelctl.errors import BuildFailed

__all__ = ["Adapted", "Context", "ModelFile", "adapt", "extra"]

_ADAPTERS = {
    "onnx": "onnx_files",
    "torch": "torch_nets",
    "keras": "keras_nets",
    "tensorflow": "keras_nets",
    "xgboost": "boosting",
    "lightgbm": "boosting",
}
"""Modules of this room, by the package that a model's class comes from."""
_TITLES = {"torch": "PyTorch", "keras": "Keras with TensorFlow", "xgboost": "XGBoost", "lightgbm": "LightGBM", "mlflow": "MLflow"}
"""By extra."""


class Adapted(Protocol):
    """A trained model of another framework than scikit-learn."""

    framework: str
    """Such as `torch 2.15.0`."""
    classes_: tuple[Any, ...]
    """In the order of the probabilities; empty unless it classifies."""

    def answers(self, X: Any) -> dict[str, NDArray[Any]]:
        """What the original itself answers, under the names that a served model of the task has."""

    def to_onnx(self, name: str) -> onnx.ModelProto:
        """A graph of that name, with the inputs and outputs that a served model of the task has."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a model is adapted for."""

    config: ModelConfig
    rows: Split
    folder: Path
    """Its folder of models/."""
    module: str = ""
    """Of weights without a network: `FILE.py:Class`, where Class() makes the network they belong to; FILE.py lies in `folder`."""


@dataclass(frozen=True)
class ModelFile:
    """A file that `train` may return where the path alone doesn't say how to open it."""

    path: Path
    module: str = ""
    """As in `Context`."""


def adapt(trained: Any, context: Context) -> Any:
    """An estimator of scikit-learn or what writes its own graph as it is, anything else as `Adapted`. Raises `BuildFailed`."""
    if isinstance(trained, Path):
        trained = ModelFile(trained)
    if isinstance(trained, ModelFile):
        from tools.modelctl.frameworks.files import adapt as adapt_file  # noqa: PLC0415 - which comes back here with what the file holds

        return adapt_file(trained, context)
    if hasattr(trained, "to_onnx") and (hasattr(trained, "answers") or hasattr(trained, "predict")):
        return trained
    if adapter := _adapter(type(trained)):
        return import_module(f"{__name__}.{adapter}").adapt(trained, context)
    if hasattr(trained, "predict"):
        return trained
    raise BuildFailed(
        f"train() in models/{context.config.name}/train.py answered a {type(trained).__name__}; expected a fitted estimator, a model of "
        "PyTorch, Keras, XGBoost or LightGBM, an onnx.ModelProto, or the pathlib.Path of a file that holds one"
    )


def extra(name: str, package: str) -> Any:
    """The module `package`, which the extra `name` of pyproject.toml installs. Raises `BuildFailed` with the command that does."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package.partition(".")[0]:
            raise  # a broken installation is no missing one
        needed = f"{_TITLES[name]} ({package})" if package.partition(".")[0] != name else _TITLES[name]
        raise BuildFailed(
            f"this model needs {needed}, which is not installed; run: .venv/bin/uv sync --frozen --inexact --extra {name}"
        ) from None


def _adapter(kind: type) -> str | None:
    """A class of one's own is known by what it is derived from."""
    packages = (base.__module__.partition(".")[0] for base in kind.__mro__)
    return next((_ADAPTERS[package] for package in packages if package in _ADAPTERS), None)
