"""Words and numbers as a page shows them, bounded whatever a label holds."""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Iterable

__all__ = [
    "DASH",
    "MINUS",
    "TIMES",
    "bounded",
    "bytes_of",
    "columns",
    "counted",
    "listed",
    "micros",
    "number",
    "number_or_dash",
    "percent",
    "signed",
    "tick",
]

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
_BYTES = ("bytes", "kB", "MB", "GB", "TB")


def bounded(text: object, most: int = 160) -> str:
    """At most `most` columns of a monospaced terminal; what can't be seen, or would turn the text around, is replaced."""
    seen = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in " ".join(str(text)[:2000].split())
    )
    if len(seen) <= most and columns(seen) <= most:
        return seen
    widths = itertools.accumulate(map(columns, seen))
    return seen[: sum(width < most for width in widths)].rstrip() + "…"


def columns(text: str) -> int:
    """How wide it is, in characters of Latin script; those of Chinese and Japanese are two."""
    return len(text) if text.isascii() else sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def number(value: float) -> str:
    """Three or four digits that mean something: 0.948, 51.6, 19,840, 39.8M; or with a power of ten."""
    size = abs(value)
    if not math.isfinite(value):
        raise ValueError(f"{value} is no measurement")
    if size and (size >= 1e12 or size < 1e-4):
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{mantissa} {TIMES} 10{raised}".replace("-", MINUS)
    if size >= 1e6:
        return (f"{value / 1e9:.4g}B" if size >= 1e9 else f"{value / 1e6:.4g}M").replace("-", MINUS)
    if size >= 1000:
        return f"{value:,.0f}".replace("-", MINUS)
    return (f"{value:.3f}" if 0.001 <= size < 0.9995 else f"{value:.4g}" if 0.9995 <= size < 1 else f"{value:.3g}").replace("-", MINUS)


def number_or_dash(value: float | None) -> str:
    """As `number`; a dash for what isn't defined."""
    return DASH if value is None else number(value)


def tick(value: float) -> str:
    """As `number`, without digits that a round number doesn't need."""
    return number(value) if abs(value) >= 1e6 else f"{value:,.6g}".replace("-", MINUS)


def signed(value: float) -> str:
    """As `number`, with a plus where it is one."""
    return f"+{number(value)}" if value > 0 else number(value)


def percent(share: float) -> str:
    """A share of 1: 97%, 99.6%, 0.4%."""
    return (
        f"{100 * share:.0f}%"
        if 0.1 <= share <= 0.99 or share in {0, 1}
        else f"{100 * share:.2g}%"
        if share < 0.1
        else f"{100 * share:.1f}%"
    )


def bytes_of(size: float) -> str:
    """In powers of a thousand: 18.3 kB."""
    power = 0
    while size >= 1000 and power < len(_BYTES) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.3g} {_BYTES[power]}"


def micros(duration: float) -> str:
    """A duration in microseconds: 42 µs, 1.3 ms, 2.1 s."""
    for unit, most in (("µs", 1e3), ("ms", 1e6)):
        if duration < most:
            return f"{duration / most * 1e3:.3g} {unit}"
    return f"{duration / 1e6:.3g} s"


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 row`, `2 rows`, `1,347 rows`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = list(words)
    return f"{', '.join(most)} and {last}" if most else last
