"""Modules that are imported at their first use: some libraries import for all of their callers what ours never needs."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any

__all__ = ["postpone"]

_LOADING = RLock()


class _Postponed(ModuleType):
    """`importlib.util.LazyLoader` makes one that the next `import` loads already: that looks at its `__spec__`."""

    def __getattr__(self, name: str) -> Any:
        """Called for what the module does not have yet."""
        with _LOADING:
            spec = self.__spec__
            if type(self) is _Postponed and spec is not None and spec.loader is not None:
                spec.loader.exec_module(self)
                self.__class__ = ModuleType  # type: ignore[assignment] # what it is from now on
        return getattr(self, name)


def postpone(name: str) -> None:
    """Makes each `import name` wait for the first use of one of the module's names; nothing where it is imported already."""
    spec = None if name in sys.modules else find_spec(name)
    if spec is not None:
        module = module_from_spec(spec)
        module.__class__ = _Postponed
        sys.modules[name] = module
