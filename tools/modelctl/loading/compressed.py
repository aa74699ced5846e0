"""Compresses a file for its way to the function, where it is there sooner then: trees shrink to a tenth, weights of networks hardly."""

from __future__ import annotations

import time
from pathlib import Path

from tools.modelctl.loading.choice import worth_compressing

try:
    from compression import zstd  # type: ignore[import-not-found,unused-ignore] # since Python 3.14
except ImportError:
    from backports import zstd

__all__ = ["compressed"]

_QUICK, _THOROUGH = 1, 12
"""Levels. It is compressed once and downloaded often; 19 takes ten times as long for a tenth less of a forest."""

_TRIES = 3  # of which the fastest counts: the others met something else


def compressed(file: Path) -> Path | None:
    """`<file>.zst` beside it, one frame that says its size; None, and no file, where that would not be there sooner."""
    body = file.read_bytes()
    if not worth_compressing(len(body), len(zstd.compress(body, _QUICK)), 0.0):
        return None
    packed = zstd.compress(body, _THOROUGH)
    if not worth_compressing(len(body), len(packed), 1e3 * min(_expanding(packed) for _ in range(_TRIES))):
        return None
    target = file.with_name(f"{file.name}.zst")
    target.write_bytes(packed)
    return target


def _expanding(packed: bytes) -> float:
    """Seconds of the thread that does it."""
    began = time.thread_time()
    zstd.decompress(packed)
    return time.thread_time() - began
