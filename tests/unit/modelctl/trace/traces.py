"""Recorded cold starts, shortened."""

from __future__ import annotations

from tools.modelctl.trace.spans import Trace

MAIN, OTHER = 140_001, 140_002


def written(*spans: tuple[str, str, float, float, int], end: float) -> Trace:
    """As the tracer writes them, from milliseconds; a process starts at some time."""
    told = [(kind, name, round(1e6 * (7 + begin)), round(1e6 * (7 + ended)), thread) for kind, name, begin, ended, thread in spans]
    return Trace.read([*told, ("end", "", round(1e6 * (7 + end)), round(1e6 * (7 + end)), MAIN)])


def binding() -> Trace:
    """148 ms through ONNX Runtime's binding."""
    return written(
        ("interpreter", "", 0, 9, MAIN),
        ("import", "awslambdaric", 9, 35, MAIN),
        ("import", "functions.predict.handler", 35, 145, MAIN),
        ("request", "s3 GET production.json", 58, 64, OTHER),
        ("init", "", 64, 145, MAIN),
        ("session", "", 69, 144, MAIN),
        ("import", "numpy", 70, 118, MAIN),
        ("import", "onnxruntime", 118, 139, MAIN),
        ("runtime", "", 145, 148.6, MAIN),
        ("handler", "", 147, 148.5, MAIN),
        ("run", "", 147.5, 148.3, MAIN),
        end=148.6,
    )


def native(*, transfer: float = 2, session: float = 8) -> Trace:
    """`transfer` and `session` are milliseconds, one after the other."""
    ready = 60 + transfer + session
    return written(
        ("interpreter", "", 0, 9, MAIN),
        ("import", "awslambdaric", 9, 35, MAIN),
        ("import", "modelserve.s3", 35, 60, MAIN),
        ("init", "", 60, ready, MAIN),
        ("request", "s3 GET model.onnx", 60, 60 + transfer, OTHER),
        ("session", "", 60 + transfer, ready, MAIN),
        ("run", "", ready, ready + 1, MAIN),
        end=ready + 2,
    )
