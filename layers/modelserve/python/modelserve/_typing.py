"""What `typing` is asked for where a class is made, without its import: 4% of a cold start, for what only type checkers read."""

from __future__ import annotations

__all__ = [
    "TYPE_CHECKING",
    "Any",
    "ClassVar",
    "Final",
    "Generic",
    "NoReturn",
    "Protocol",
    "Self",
    "TypeAlias",
    "TypeVar",
    "dataclass_transform",
]

TYPE_CHECKING = False
"""True to a type checker, which goes by the name."""

if TYPE_CHECKING:
    from typing import Any, ClassVar, Final, Generic, NoReturn, Protocol, Self, TypeAlias, TypeVar, dataclass_transform
else:
    Any = ClassVar = Final = NoReturn = Self = TypeAlias = object()

    class Generic:
        """A class of any parameters, which it forgets."""

        __slots__ = ()

        def __class_getitem__(cls, _: object) -> type:
            return cls

    class Protocol(Generic):
        """A class like any other: nothing is asked whether it satisfies it."""

        __slots__ = ()

    def TypeVar(name: str, **_bound: object) -> str:  # noqa: N802 - as `typing` calls it, which would compile a bound that is a string
        """A name."""
        return name

    def dataclass_transform(**_defaults: bool) -> type:
        """A decorator that leaves a class as it is."""
        return lambda cls: cls
