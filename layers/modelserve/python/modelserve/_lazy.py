"""Modules that are imported at their first use: some libraries import for all of their callers what ours never needs."""

from __future__ import annotations

import sys
from importlib import import_module
from threading import RLock
from types import ModuleType

from ._typing import Any

__all__ = ["postpone"]

_LOADING = RLock()


class _Postponed(ModuleType):
    """Stands in for a module until one of its names is used. `importlib.util`, which has such a thing too, takes long to import itself."""

    def __getattr__(self, name: str) -> Any:
        """Of the module. Raises what its import raises."""
        own = self.__name__
        with _LOADING:
            if sys.modules.get(own) is self:
                del sys.modules[own]
        return getattr(import_module(own), name)


def postpone(name: str, **known: Any) -> None:
    """Makes each `import name` wait for the first use of one of the module's names, but those that are `known`; nothing where it is
    imported already."""
    stand_in = _Postponed(name)
    vars(stand_in).update(known)
    sys.modules.setdefault(name, stand_in)
