"""What stands out in a cold start, and what can be done about it."""

from __future__ import annotations

from tools.modelctl.trace.spans import Row, Trace

__all__ = ["before_handler", "hints", "largest"]

_MUCH = 0.25
"""Of the whole."""
_OPENS = {"session", "library", "zstd"}
_FETCHES = {"request", "connect", "hash"}


def hints(trace: Trace) -> list[str]:
    """A sentence for each thing that takes more than it would have to, or that nothing but another choice makes shorter."""
    packages = {row.name for row in trace.rows if row.kind == "import"}
    opens = sum(row.own for row in trace.rows if row.kind in _OPENS and row.lane == 0) / trace.total
    fetches = _covered(trace, _FETCHES) / trace.total
    found = []
    if "numpy" in packages:
        took = sum(row.own for row in trace.rows if row.kind == "import" and row.name in {"numpy", "onnxruntime"})
        found.append(
            f"numpy is imported, {took:.0f} ms with ONNX Runtime's binding (--backend binding, or session_backend of a deployment)"
        )
    if opens >= _MUCH:
        found.append(
            f"opening the model is {opens:.0%}: [loading] of its model.toml chooses how (docs/models.md); `modelctl compress` makes it less"
        )
    if fetches >= _MUCH:
        found.append(f"the transfer is {fetches:.0%}: fewer bytes (`modelctl compress`), or more memory, with which the network grows")
    return found


def largest(trace: Trace, most: int = 3) -> list[Row]:
    """What took most of the main thread's time."""
    rows = [row for row in trace.rows if row.lane == 0 and row.kind not in {"init", "none", "tracer"}]
    return sorted(rows, key=lambda row: -row.own)[:most]


def before_handler(trace: Trace) -> float:
    """Milliseconds until the function's own code is looked for: what every Python function pays."""
    return min((span.begin for span in trace.spans if span.kind == "import" and span.name.startswith("functions")), default=trace.total)


def _covered(trace: Trace, kinds: set[str]) -> float:
    """Milliseconds in which any of them ran, on however many threads."""
    covered = until = 0.0
    for begin, end in sorted(part for row in trace.rows if row.kind in kinds for part in row.parts):
        covered += max(0.0, end - max(begin, until))
        until = max(until, end)
    return covered
