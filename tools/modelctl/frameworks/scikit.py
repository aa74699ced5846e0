"""Estimators of scikit-learn, and of libraries that speak like it, from a pickle or joblib file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sklearn.utils.validation import check_is_fitted

from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks import Context, allowed

__all__ = ["load"]


def load(path: Path, context: Context) -> Any:  # noqa: ARG001 - one signature for all frameworks
    """Raises `BuildFailed` for anything but a fitted estimator that answers rows."""
    found = allowed.load(path)
    if type(found).__name__ == "Booster":
        return found
    if not hasattr(found, "predict"):
        raise BuildFailed(
            f"{path.name} holds {_told(found)}; expected one fitted estimator with predict(), saved by itself: "
            "joblib.dump(estimator, file), with its preprocessing in a Pipeline"
        )
    try:
        check_is_fitted(found)
    except Exception as error:
        raise BuildFailed(f"{path.name} holds a {type(found).__name__} that was never fitted; call fit(X, y) before you save it") from error
    return found


def _told(found: Any) -> str:
    if isinstance(found, dict):
        return f"a dict of {', '.join(repr(key) for key in list(found)[:5])}"
    if isinstance(found, list | tuple):
        return f"a {type(found).__name__} of {len(found)}"
    return f"a {type(found).__name__}"
