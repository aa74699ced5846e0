"""What a page is made of: sections of figures, tables and facts, which the template sets in type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

__all__ = ["Block", "Facts", "Figure", "Section", "Table"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing, and the sentence that says what one sees in it."""

    title: str
    says: str
    drawing: Markup
    kind: str = "figure"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns whose names begin with `>` hold numbers."""

    title: str
    says: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    wide: bool = False
    """Whether it goes over the whole page."""
    kind: str = "table"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Names and what they are."""

    items: Sequence[tuple[str, str]]
    kind: str = "facts"


Block = Figure | Table | Facts


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page; `name` is its anchor."""

    name: str
    title: str
    blocks: Sequence[Block]
    says: str = ""
