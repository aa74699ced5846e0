"""Loads a model's train.py by its path, so that a folder is all it takes to bring a model."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.modelctl.errors import TrainFailed

__all__ = ["Source"]


@dataclass(frozen=True)
class Source:
    """The two functions of a train.py; what they raise becomes `TrainFailed`."""

    file: Path
    _load: Callable[[], Any]
    _train: Callable[[Any, Any], Any]

    @classmethod
    def of(cls, folder: Path) -> Source:
        """Raises `TrainFailed` when there is no train.py, or one without `load` and `train`."""
        file = folder / "train.py"
        spec = importlib.util.spec_from_file_location(f"models.{folder.name}.train", file)
        if not file.is_file() or spec is None or spec.loader is None:
            raise TrainFailed(file, "there is no such file; expected one with load() and train(X, y), as `modelctl new NAME` writes it")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses and pickle look their module up
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # whatever a train.py raises is told, not shown as our traceback
            raise TrainFailed.during(file, error) from error
        functions = [getattr(module, name, None) for name in ("load", "train")]
        if not all(callable(function) for function in functions):
            raise TrainFailed(file, "expected the functions load() -> (X, y) and train(X, y) -> a fitted estimator")
        return cls(file, module.load, module.train)

    @property
    def opens_file(self) -> bool:
        """Whether train() says by its annotation that it answers a file that holds a model, and trains none."""
        kind = getattr(self._train, "__annotations__", {}).get("return")
        return getattr(kind, "__name__", kind) in {"Path", "ModelFile"}

    def load(self) -> tuple[Any, Any]:
        """Raises `TrainFailed` unless the answer is a pair with one y for each row of X."""
        found = self._call(self._load)
        if not isinstance(found, tuple) or len(found) != 2:
            raise TrainFailed(self.file, f"load() answered a {type(found).__name__}; expected the pair (X, y), with y None for clustering")
        X, y = found
        counts = {len(values) for values in X.values()} if isinstance(X, dict) else {len(X)}
        if y is not None:
            counts.add(len(y))
        if len(counts) != 1:
            raise TrainFailed(self.file, f"load() answered tensors and y of {sorted(counts)} rows; expected as many of each")
        return X, y

    def train(self, X: Any, y: Any) -> Any:
        """Raises `TrainFailed` unless it answers something."""
        trained = self._call(self._train, X, y)
        if trained is None:
            raise TrainFailed(self.file, "train() answered None; expected a fitted estimator; did it forget `return`?")
        return trained

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except Exception as error:  # as above
            raise TrainFailed.during(self.file, error) from error
