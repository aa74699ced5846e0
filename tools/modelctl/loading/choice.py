"""Which way of opening a model is taken, from what each took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PLAIN", "Figures", "choose", "settled", "worth_compressing"]

PLAIN = "onnx"
"""The name of opening what is published as it is."""
STEADY = 1.09
"""How many times as long as plain's a run may take. The promise is 1.1; what is left is the noise of measuring."""
DOUBT = 0.01
"""Of that, by which the median of a few turns may be wrong."""
LEAST_MS = 5.0
"""What must be saved before anything is worth more files."""
LEAST_SHARE = 0.2
"""Of what plain takes to its first answer, likewise."""
NEAR = 1.05
"""How many times as long as the fastest a way may take to count as fast."""
NEAR_MS = 2.0
"""Or how much longer, where that is more."""
BANDWIDTH = 80e6
"""Bytes a second from S3 to a function, of the 625 Mbit/s that Lambda gives an environment."""


@dataclass(frozen=True)
class Figures:
    """What one way took here, its files being in the page cache."""

    load_ms: float
    first_ms: float
    """The first run, which reads what loading only mapped."""
    steady_us: float
    """Of a run after it."""

    @property
    def answered_ms(self) -> float:
        """To the first answer."""
        return self.load_ms + self.first_ms


def choose(figures: Mapping[str, Figures], *, insisted: bool = False, steady: float = STEADY) -> str:
    """The name of the way to take; `figures` go from the simplest to the least simple, and hold `PLAIN`.

    Of those whose runs take at most `steady` times plain's it is the fastest to a first answer, for which somebody waits; of those that
    are as fast but for noise the one that loads fastest, and of these the simplest. It is plain unless the first answer is there 5 ms
    and a fifth sooner. With `insisted` any of them is better than plain, however long it takes.
    """
    plain = figures[PLAIN]
    others = {name: found for name, found in figures.items() if name != PLAIN}
    if not insisted:
        others = {name: found for name, found in others.items() if found.steady_us <= steady * plain.steady_us}
    if not others:
        return PLAIN
    fastest = min(found.answered_ms for found in others.values())
    margin = max(LEAST_MS, LEAST_SHARE * plain.answered_ms)
    if not insisted and plain.answered_ms - fastest < margin:
        return PLAIN
    answering = {name: found.load_ms for name, found in others.items() if _near(found.answered_ms, fastest)}
    return next(name for name, load_ms in answering.items() if _near(load_ms, min(answering.values())))


def settled(figures: Mapping[str, Figures], *, insisted: bool = False) -> bool:
    """Whether the same way is taken if runs were measured a little too fast or too slow."""
    return len({choose(figures, insisted=insisted, steady=STEADY + doubt) for doubt in (-DOUBT, 0.0, DOUBT)}) == 1


def _near(value: float, least: float) -> bool:
    return value <= max(NEAR * least, least + NEAR_MS)


def worth_compressing(size: int, compressed: int, expand_ms: float) -> bool:
    """Whether a file of `size` bytes that `expand_ms` make of `compressed` ones is there sooner: a half smaller, and 5 ms at least."""
    saved_ms = (size - compressed) / BANDWIDTH * 1e3 - expand_ms
    return size >= 1.5 * compressed and saved_ms >= LEAST_MS
