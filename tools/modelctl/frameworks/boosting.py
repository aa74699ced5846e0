"""Boosted trees of XGBoost and LightGBM, which onnxmltools writes as a graph; what it would write wrong without a word is refused here."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from skl2onnx import update_registered_converter
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes, calculate_linear_regressor_output_shapes

from tools.modelctl.convert import OPSETS
from tools.modelctl.data import INPUT, tensors
from tools.modelctl.errors import BuildFailed, first_line
from tools.modelctl.frameworks import Context, extra
from tools.modelctl.frameworks.advice import advise
from tools.modelctl.frameworks.heads import answers, served

__all__ = ["adapt", "check", "load", "register"]

_ENCODE = "encode categories by OneHotEncoder or OrdinalEncoder in a Pipeline"
_TASKS = {
    **dict.fromkeys(("binary:logistic", "multi:softprob", "multi:softmax", "binary", "multiclass"), "classification"),
    **dict.fromkeys(
        (
            *("reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:quantileerror", "reg:pseudohubererror"),
            *("count:poisson", "reg:gamma", "reg:tweedie"),
            *("regression", "regression_l1", "huber", "quantile", "poisson", "gamma", "tweedie"),
        ),
        "regression",
    ),
}
"""What a model's objective makes it, of the objectives whose graphs answer as the model does."""
_UNFAITHFUL = (
    (r"^average_output$", "boosting_type='rf'", "train with boosting_type='gbdt' or 'dart'"),
    (r"^is_linear=1$", "linear_tree=True", "train without it"),
    (r"^num_cat=[1-9]", "a split by a categorical column", _ENCODE),
    # Two bits of a split say what is missing: here zero is.
    (r"^decision_type=(.* )?(4|5|6|7)( |$)", "zero_as_missing=True", "mark gaps by NaN, in load() and in requests"),
)
"""Of a LightGBM model's text: what onnxmltools leaves out, what that is, and what to do instead."""
_OPSET = 15  # the newest that onnxmltools writes
_PROVING = 64  # rows that a graph's shapes are taken from


def adapt(trained: Any, context: Context) -> _Boosted:
    """An estimator of the scikit-learn interface, or a `Booster`. Raises `BuildFailed` for one that no graph answers as."""
    package = _package(trained)
    booster = _booster(trained)
    found = _task(trained)
    task, width = context.config.task, booster.num_features() if package == "xgboost" else booster.num_feature()
    if found != task:
        raise BuildFailed(f'the model is one of {found} by its objective; expected {task}; say task = "{found}" in model.toml')
    rows = tensors(context.rows.held_out_X)
    if list(rows) != [INPUT] or rows[INPUT].shape[1:] != (width,):
        shapes = ", ".join(f"{name} {list(values.shape[1:])}" for name, values in rows.items())
        raise BuildFailed(
            f"the model takes {width} columns of numbers, load() answers {shapes}; encode text and truth values in a Pipeline"
        )
    return _Boosted(
        original=trained,
        booster=booster,
        task=task,
        framework=f"{package} {extra(package, package).__version__}",
        classes_=_classes(trained, context) if task == "classification" else (),
        rows=rows[INPUT][:_PROVING],
    )


def load(path: Path, context: Context) -> Any:  # noqa: ARG001 - as every adapter's
    """The `Booster` in a model file: LightGBM's text, or XGBoost's JSON or UBJ. Raises `BuildFailed`."""
    content = path.read_bytes()
    package = "lightgbm" if content.startswith(b"tree\n") else "xgboost"
    library = extra(package, package)
    try:
        if not content:
            raise ValueError("it is empty")  # XGBoost would end the process
        return library.Booster(model_str=content.decode()) if package == "lightgbm" else library.Booster(model_file=bytearray(content))
    except Exception as error:  # each library has its own, without a common base
        raise BuildFailed(
            f"{path.name} is no model of XGBoost or LightGBM: {first_line(error)}; expected the .json or .ubj that "
            "Booster.save_model() of XGBoost writes, or the .txt of LightGBM's"
        ) from error


def check(trained: Any) -> None:
    """Raises `BuildFailed` for a model whose graph would answer otherwise than it does, or which has none."""
    _task(trained)
    _booster(trained)


def register(trained: Any) -> None:
    """Lets skl2onnx convert such an estimator as a step of a pipeline. Raises `BuildFailed` as `check` does."""
    check(trained)
    package, kind = _package(trained), type(trained)
    classifies = _task(trained) == "classification"
    extra(package, "onnxmltools")
    if package == "xgboost":
        from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost as converter  # noqa: PLC0415 - an extra
    else:
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm as converter  # noqa: PLC0415 - an extra
    shapes = calculate_linear_classifier_output_shapes if classifies else calculate_linear_regressor_output_shapes
    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]} if classifies else {"split": [None]}
    update_registered_converter(kind, f"{package}_{kind.__name__}", shapes, converter, options=options)


@dataclass(frozen=True, kw_only=True)
class _Boosted:
    """`Adapted`."""

    original: Any
    booster: Any
    """A copy with the trees that the original answers by, and no names of columns."""
    task: str
    framework: str
    classes_: tuple[Any, ...]
    rows: NDArray[Any]

    def answers(self, X: Any) -> dict[str, NDArray[Any]]:
        if hasattr(self.original, "predict_proba"):
            found: Sequence[Any] = (self.original.predict(X), self.original.predict_proba(X))
        elif _is_booster(self.original):
            found = (self._predict(np.asarray(X)),)
        else:
            found = (self.original.predict(X),)
        return answers(self.task, [np.asarray(each) for each in found], classes=self.classes_, kind=self._kind)

    def to_onnx(self, name: str) -> onnx.ModelProto:
        """Raises `BuildFailed` naming what has no converter."""
        package = _package(self.booster)
        onnxmltools = extra(package, "onnxmltools")
        kind = onnxmltools.convert.common.data_types.FloatTensorType([None, self.rows.shape[1]])
        converter, options = (
            (onnxmltools.convert_xgboost, {}) if package == "xgboost" else (onnxmltools.convert_lightgbm, {"zipmap": False})
        )
        try:
            model = converter(self.booster, name=name, initial_types=[(INPUT, kind)], target_opset=_OPSET, **options)
        except Exception as error:  # whatever onnxmltools raises is told
            raise BuildFailed(f"{name} can't be converted to ONNX: {advise(error, package)}") from error
        if all(opset.domain for opset in model.opset_import):
            model.opset_import.append(onnx.helper.make_opsetid("", OPSETS[""]))
        return served(model, name=name, task=self.task, classes=self.classes_, kind=self._kind, rows={INPUT: self.rows})

    @property
    def _kind(self) -> Any:
        return "probabilities" if self.task == "classification" else "values"

    def _predict(self, X: NDArray[Any]) -> Any:
        if _package(self.booster) == "lightgbm":
            return self.booster.predict(X)
        return self.booster.predict(extra("xgboost", "xgboost").DMatrix(X))


def _package(trained: Any) -> str:
    return next(name for kind in type(trained).__mro__ if (name := kind.__module__.partition(".")[0]) in {"xgboost", "lightgbm"})


def _is_booster(trained: Any) -> bool:
    return type(trained).__name__ == "Booster"


def _booster(trained: Any) -> Any:
    """A copy as `_Boosted` has it. Raises `BuildFailed` for trees that a graph doesn't hold."""
    return _xgboost(trained) if _package(trained) == "xgboost" else _lightgbm(trained)


def _xgboost(trained: Any) -> Any:
    if not np.isnan(getattr(trained, "missing", np.nan)):
        raise _refused(f"missing={trained.missing}", "mark gaps by NaN, in load() and in requests")
    booster = trained if _is_booster(trained) else trained.get_booster()
    if "c" in (booster.feature_types or ()):
        raise _refused("a categorical column", _ENCODE)
    learner = json.loads(booster.save_config())["learner"]
    if (kind := learner["gradient_booster"]["name"]) != "gbtree":
        raise _refused(f"booster='{kind}'", "train with booster='gbtree'")
    if any(weight != 1 for weight in json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"].get("weight_drop", ())):
        raise _refused("trees that were dropped out (rate_drop, booster='dart')", "train without")
    if int(learner["learner_model_param"]["num_target"]) > 1:
        raise _refused("several targets", "train a model for each")
    best = booster.attr("best_iteration")
    booster = booster[: int(best) + 1] if best else booster.copy()
    booster.feature_names = booster.feature_types = None
    if learner["objective"]["name"] == "multi:softmax":  # which answers classes only
        booster.set_param({"objective": "multi:softprob"})
    return booster


def _lightgbm(trained: Any) -> Any:
    booster = trained if _is_booster(trained) else trained.booster_
    text = booster.model_to_string(num_iteration=booster.best_iteration)
    for line, what, advice in _UNFAITHFUL:
        if re.search(line, text, re.MULTILINE):
            raise _refused(what, advice)
    return extra("lightgbm", "lightgbm").Booster(model_str=text)


def _task(trained: Any) -> str:
    """Of the objective. Raises `BuildFailed` for one that isn't converted faithfully."""
    if _package(trained) == "xgboost":
        booster = trained if _is_booster(trained) else trained.get_booster()
        objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    else:
        booster = trained if _is_booster(trained) else trained.booster_
        text = booster.model_to_string(num_iteration=1)
        objective = next((line.removeprefix("objective=") for line in text.splitlines() if line.startswith("objective=")), "a function")
    name, *options = objective.split()
    if name not in _TASKS or "sqrt" in options or any(option.startswith("sigmoid:") and option != "sigmoid:1" for option in options):
        known = ", ".join(each for each in _TASKS if (":" in each) == (_package(trained) == "xgboost"))
        raise _refused(f"the objective {objective}", f"train with one of {known}")
    return _TASKS[name]


def _classes(trained: Any, context: Context) -> tuple[Any, ...]:
    """As the estimator has them; of a `Booster`, which has numbers from 0, those of the rows where there are as many."""
    if hasattr(trained, "classes_"):
        return tuple(np.asarray(trained.classes_).tolist())
    booster = _booster(trained)
    if _package(trained) == "xgboost":
        parameters = json.loads(booster.save_config())["learner"]["learner_model_param"]
        count = max(2, int(parameters["num_class"]))
    else:
        count = max(2, booster.num_model_per_iteration())
    known = np.unique(np.asarray(context.rows.y)).tolist() if context.rows.y is not None else []
    return tuple(known) if len(known) == count else tuple(range(count))


def _refused(what: str, advice: str) -> BuildFailed:
    return BuildFailed(f"{what} can't be converted to ONNX so that it answers as the model does; {advice}")
