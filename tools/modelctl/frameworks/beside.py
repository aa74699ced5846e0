"""Makes the network that weights belong to, by the code that a person gives beside them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from tools.modelctl.errors import BuildFailed, TrainFailed

__all__ = ["made_by"]


def made_by(module: str, folder: Path) -> Any:
    """What `Class()` of `FILE.py:Class` answers, for a FILE.py in `folder`. Raises `BuildFailed`, and `TrainFailed` for what it raises."""
    name, _, kind = module.rpartition(":")
    file = folder / name
    spec = importlib.util.spec_from_file_location(f"models.{folder.name}.{file.stem}", file)
    if not name or not kind.isidentifier() or not file.is_file() or spec is None or spec.loader is None:
        raise BuildFailed(f"there is no {module!r} in {folder}; expected --module FILE.py:Class, with a class of a Python file")
    code = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = code  # dataclasses look their module up
    try:
        spec.loader.exec_module(code)
        if not hasattr(code, kind):
            raise BuildFailed(f"{file.name} has no {kind}; expected the class of the network, which {kind}() makes")
        return getattr(code, kind)()
    except BuildFailed:
        raise
    except Exception as error:  # whatever a person's file raises is told, not shown as our traceback
        raise TrainFailed.during(file, error) from error
