"""What a trained model says of itself: the task it was trained for, its classes, and what a row has to be."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, cast

import sklearn
from onnx import ModelProto
from pydantic import BaseModel, ConfigDict
from sklearn.base import is_classifier, is_clusterer, is_regressor

from tools.modelctl.data import INPUT

__all__ = ["Probed", "Tensor", "framework_of", "probe"]

_DTYPES = ("float16", "float32", "float64", "bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "object")


class _Fact(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tensor(_Fact):
    """An input: numpy's name of its elements, and its shape without the rows, -1 where that is open."""

    name: str
    dtype: str = "float32"
    shape: tuple[int, ...]


class Probed(_Fact):
    """Nothing of it is known of every model."""

    task: Literal["", "classification", "regression", "clustering", "custom"] = ""
    columns: tuple[str, ...] = ()
    """Of the table that it was fitted on."""
    is_table: bool = False
    """Whether the kinds of these columns may differ, as a ColumnTransformer's."""
    inputs: tuple[Tensor, ...] = ()


def framework_of(model: Any) -> str:
    """Such as `xgboost 3.4.0`."""
    if isinstance(model, ModelProto):
        return "onnx"
    if found := getattr(model, "framework", None):
        return str(found)
    for base in type(model).__mro__:
        package = base.__module__.partition(".")[0]
        if package in {"xgboost", "lightgbm", "torch", "keras", "tensorflow"}:
            return f"{package} {_version(package)}"
    return f"scikit-learn {sklearn.__version__}"


def probe(model: Any) -> Probed:
    """Looks at attributes alone, by which the frameworks' own classes tell."""
    columns = tuple(map(str, getattr(model, "feature_names_in_", ())))
    return Probed(
        task=_task(model),
        columns=columns if hasattr(model, "predict") else (),
        is_table=any(hasattr(part, "transformers_") for part in _parts(model)),
        inputs=tuple(_inputs(model)),
    )


def _task(model: Any) -> Literal["", "classification", "regression", "clustering", "custom"]:
    if type(model).__name__ == "Booster":
        from tools.modelctl.frameworks.boosting import _task as of_objective  # noqa: PLC0415 - with the converters of both

        return cast("Literal['classification', 'regression']", of_objective(model))
    if not hasattr(model, "predict") or not hasattr(model, "get_params"):
        return ""
    if is_classifier(model):
        return "classification"
    if is_regressor(model):
        return "regression"
    return "clustering" if is_clusterer(model) else ""


def _parts(model: Any) -> Iterator[Any]:
    """Steps of a pipeline, and what wraps another."""
    yield model
    for step in (
        *(part for _, part in getattr(model, "steps", ())),
        getattr(model, "best_estimator_", None),
        getattr(model, "estimator", None),
    ):
        if step is not None and not isinstance(step, str):
            yield from _parts(step)


def _inputs(model: Any) -> Iterator[Tensor]:
    if hasattr(model, "example_inputs") and model.example_inputs:  # an ExportedProgram of torch: positional and keyword arguments
        for place, tensor in enumerate(model.example_inputs[0]):
            dtype = str(tensor.dtype).removeprefix("torch.")
            name = INPUT if len(model.example_inputs[0]) == 1 else f"input_{place}"
            yield Tensor(name=name, dtype=dtype, shape=tuple(map(int, tensor.shape[1:])))
    elif hasattr(model, "inputs") and hasattr(model, "layers"):  # Keras
        for tensor in model.inputs:
            name = INPUT if len(model.inputs) == 1 else str(tensor.name)
            yield Tensor(name=name, dtype=str(tensor.dtype), shape=tuple(-1 if size is None else int(size) for size in tensor.shape[1:]))
    else:
        for attribute in ("n_features_in_", "num_features", "num_feature"):  # scikit-learn's; a Booster's of XGBoost or LightGBM
            found = getattr(model, attribute, None)
            if found is not None:
                yield Tensor(name=INPUT, shape=(int(found() if callable(found) else found),))
                return


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
