"""Models of XGBoost and LightGBM."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.config import ParityConfig
from tests.conversions import rows
from tests.conversions.case import Case

__all__ = ["CASES", "FAILURES"]

_SMALL: dict[str, Any] = {"n_estimators": 30, "max_depth": 4, "n_jobs": 1}
_QUIET: dict[str, Any] = {**_SMALL, "verbose": -1}
_STEP = ParityConfig(disagreement=0.01, tolerance=0.05)
"""LightGBM compares in float64 and its graph in float32, as scikit-learn's trees."""

_SCALED = ParityConfig(tolerance=0.2)
"""XGBoost splits at values that rows have: once they are scaled, in float32 or in float64, some lie on the other side."""


def _xgboost(kind: str, X: Any, y: Any, **options: Any) -> Any:
    import xgboost

    return getattr(xgboost, kind)(**{**_SMALL, **options}).fit(X, y)


def _lightgbm(kind: str, X: Any, y: Any, **options: Any) -> Any:
    import lightgbm

    return getattr(lightgbm, kind)(**{**_QUIET, **options}).fit(X, y)


def _scaled(trained: Any, X: Any, y: Any) -> Any:
    return make_pipeline(StandardScaler(), trained).fit(X, y)


def _named(X: Any, y: Any) -> Any:
    import lightgbm

    return _scaled(lightgbm.LGBMClassifier(**_QUIET), X, y)


def _regression(X: Any, y: Any) -> Any:
    import xgboost

    return _scaled(xgboost.XGBRegressor(**_SMALL), X, y)


def _case(name: str, task: str, data: Any, train: Any, **more: Any) -> Case:
    needs = "xgboost" if name.startswith("XGB") else "lightgbm"
    return Case(name=name, task=task, rows=data, train=train, needs=needs, **more)


CASES = (
    _case("XGBClassifier", "classification", rows.digits, lambda X, y: _xgboost("XGBClassifier", X, y)),
    _case("XGBClassifier, gaps", "classification", rows.gaps, lambda X, y: _xgboost("XGBClassifier", X, y)),
    _case("XGBRegressor", "regression", rows.amounts, lambda X, y: _xgboost("XGBRegressor", X, y)),
    _case("XGBRegressor, gamma", "regression", rows.amounts, lambda X, y: _xgboost("XGBRegressor", X, y, objective="reg:gamma")),
    _case("XGBoost's Booster", "classification", rows.wine, lambda X, y: _xgboost("XGBClassifier", X, y).get_booster()),
    _case("XGBRegressor in a Pipeline", "regression", rows.amounts, _regression, allowed=_SCALED),
    _case("LGBMClassifier", "classification", rows.digits, lambda X, y: _lightgbm("LGBMClassifier", X, y), allowed=_STEP),
    _case("LGBMClassifier, gaps", "classification", rows.gaps, lambda X, y: _lightgbm("LGBMClassifier", X, y), allowed=_STEP),
    _case("LGBMRegressor", "regression", rows.amounts, lambda X, y: _lightgbm("LGBMRegressor", X, y), allowed=_STEP),
    _case(
        "LGBMRegressor, poisson",
        "regression",
        rows.amounts,
        lambda X, y: _lightgbm("LGBMRegressor", X, y, objective="poisson"),
        allowed=_STEP,
    ),
    _case("LightGBM's Booster", "classification", rows.wine, lambda X, y: _lightgbm("LGBMClassifier", X, y).booster_, allowed=_STEP),
    _case("LGBMClassifier in a Pipeline, named classes", "classification", rows.cancer, _named, allowed=_STEP),
)
FAILURES = (
    _case(
        "XGBRegressor, gblinear",
        "regression",
        rows.amounts,
        lambda X, y: _xgboost("XGBRegressor", X, y, booster="gblinear", max_depth=None),
        refused="train with booster='gbtree'",
    ),
    _case(
        "XGBClassifier, dropout",
        "classification",
        rows.wine,
        lambda X, y: _xgboost("XGBClassifier", X, y, rate_drop=0.5),
        refused="trees that were dropped out",
    ),
    _case(
        "LGBMRegressor, linear trees",
        "regression",
        rows.amounts,
        lambda X, y: _lightgbm("LGBMRegressor", X, y, linear_tree=True),
        refused="linear_tree=True can't be converted",
    ),
    _case(
        "LGBMClassifier, one against all",
        "classification",
        rows.wine,
        lambda X, y: _lightgbm("LGBMClassifier", X, y, objective="multiclassova"),
        refused="train with one of binary, multiclass",
    ),
)
