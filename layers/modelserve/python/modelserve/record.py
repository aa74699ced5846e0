"""Frozen values with named fields: `dataclasses` compiles each class's methods at import, 6% of a cold start for those here."""

from __future__ import annotations

from ._typing import Any, ClassVar, NoReturn, TypeVar, dataclass_transform

__all__ = ["Record", "replace"]

_R = TypeVar("_R", bound="Record")


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Record:  # noqa: PLW1641 - a field may be a mapping, which has no hash either
    """Subclasses annotate their fields, and give defaults, as a keyword-only frozen dataclass does; they don't inherit further."""

    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls._fields = tuple(cls.__annotations__)

    def __init__(self, **values: Any) -> None:
        """Raises `TypeError` for a field that is missing or unknown."""
        cls = type(self)
        if unknown := values.keys() - set(cls._fields):
            raise TypeError(f"{cls.__name__} has no field {min(unknown)!r}")
        for name in cls._fields:
            if name in values:
                self.__dict__[name] = values[name]
            elif hasattr(cls, name):
                self.__dict__[name] = getattr(cls, name)
            else:
                raise TypeError(f"{cls.__name__} needs {name!r}")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen; `replace` makes another one")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def replace(record: _R, **changes: Any) -> _R:
    """Another record, equal but for `changes`."""
    return type(record)(**{**vars(record), **changes})
