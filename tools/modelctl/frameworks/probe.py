"""What a trained model says of itself: the task it was trained for, its classes, and what a row has to be."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal, cast, get_args

import sklearn
from onnx import ModelProto
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sklearn.base import is_classifier, is_clusterer, is_regressor

from tools.modelctl.data import INPUT

__all__ = ["Probed", "Tensor", "Text", "dtype_of", "framework_of", "probe"]

_MOST_LETTERS = 1000


def _told(text: str) -> str:
    if not _is_plain(text):
        raise ValueError(f"expected text of at most {_MOST_LETTERS} characters, none of which steers a terminal")
    return text


def _is_plain(text: str) -> bool:
    return len(text) <= _MOST_LETTERS and not any(unicodedata.category(letter).startswith("C") for letter in text)


Text = Annotated[str, AfterValidator(_told)]
"""Of a file that nobody trusts: it may be shown, and written into a source file."""
Dtype = Literal["float16", "float32", "float64", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "object"]
"""numpy's names; no other is written into a train.py."""
Size = Annotated[int, Field(ge=-1, lt=2**31)]


class _Fact(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tensor(_Fact):
    """An input: numpy's name of its elements, and its shape without the rows, -1 where that is open."""

    name: Text
    dtype: Dtype = "float32"
    shape: tuple[Size, ...]


class Probed(_Fact):
    """Nothing of it is known of every model."""

    task: Literal["", "classification", "regression", "clustering", "custom"] = ""
    columns: tuple[Text, ...] = ()
    """Of the table that it was fitted on."""
    is_table: bool = False
    """Whether the kinds of these columns may differ, as a ColumnTransformer's."""
    inputs: tuple[Tensor, ...] = ()


def dtype_of(name: str) -> Dtype:
    """What rows are made as for elements of that name; float32 for those that numpy or a graph's rows don't have."""
    return cast("Dtype", name) if name in get_args(Dtype) else "float32"


def framework_of(model: Any) -> str:
    """Such as `xgboost 3.4.0`. What an object says of itself is believed of this room's own classes alone."""
    if isinstance(model, ModelProto):
        return "onnx"
    if type(model).__module__.startswith(f"{__package__}."):
        return str(model.framework)
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
        columns=columns if hasattr(model, "predict") and all(map(_is_plain, columns)) else (),
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
    if _is_a(model, "torch", "ExportedProgram"):  # positional and keyword arguments
        given = model.example_inputs[0] if model.example_inputs else ()
        for place, tensor in enumerate(given):
            name = INPUT if len(given) == 1 else f"input_{place}"
            yield Tensor(name=name, dtype=dtype_of(str(tensor.dtype).removeprefix("torch.")), shape=tuple(map(int, tensor.shape[1:])))
    elif _is_a(model, "keras", "Model"):
        for tensor in model.inputs or ():
            name = INPUT if len(model.inputs) == 1 else str(tensor.name)
            shape = tuple(-1 if size is None else int(size) for size in tensor.shape[1:])
            yield Tensor(name=name, dtype=dtype_of(str(tensor.dtype)), shape=shape)
    else:
        for attribute in ("n_features_in_", "num_features", "num_feature"):  # scikit-learn's; a Booster's of XGBoost or LightGBM
            found = getattr(model, attribute, None)
            if found is not None:
                yield Tensor(name=INPUT, shape=(int(found() if callable(found) else found),))
                return


def _is_a(model: Any, package: str, name: str) -> bool:
    """By its class, which a pickle can't make up, and not by attributes, which it can."""
    return any(base.__name__ == name and base.__module__.partition(".")[0] == package for base in type(model).__mro__)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
