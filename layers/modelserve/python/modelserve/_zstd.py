"""A file that came compressed: trees shrink to a tenth, which is what a transfer takes then."""

from __future__ import annotations

import os
from io import FileIO

from ._disk import write
from .errors import UnverifiedModel

try:
    from compression import zstd  # type: ignore[import-not-found,unused-ignore] # since Python 3.14
except ImportError:
    from backports import zstd

__all__ = ["declared", "expand"]

_CHUNK = 2**20
_HEADER = 18  # bytes of the longest


def expand(path: str) -> None:
    """Makes `path` of `<path>.zst`, one frame that says its size, and deletes the latter. Raises `UnverifiedModel`, `StoreUnavailable`."""
    packed = f"{path}.zst"
    size = declared(packed)
    with open(packed, "rb", 0) as source, open(path, "wb", 0) as target:
        try:
            expanded = _expand(source, target, path, size)
        except (zstd.ZstdError, EOFError) as error:
            raise UnverifiedModel(packed, f"no zstd ({error})", "one frame that says its size") from None
    if expanded != size:
        raise UnverifiedModel(packed, f"another size than the {size} bytes that its header says", "one frame that says its size")
    os.unlink(packed)


def declared(packed: str) -> int:
    """Bytes that the file `packed` says to become, which `expand` holds it to. Raises `UnverifiedModel`."""
    with open(packed, "rb", 0) as source:
        try:
            return zstd.get_frame_info(source.read(_HEADER)).decompressed_size or 0
        except zstd.ZstdError as error:
            raise UnverifiedModel(packed, f"no zstd ({error})", "one frame that says its size") from None


def _expand(source: FileIO, target: FileIO, name: str, size: int) -> int:
    """Bytes written, which are at most a chunk more than `size`."""
    decompressor = zstd.ZstdDecompressor()
    at = 0
    while not decompressor.eof and at <= size:
        packed = source.read(_CHUNK) if decompressor.needs_input else b""
        if decompressor.needs_input and not packed:
            raise EOFError("it ends too early")
        at = write(target.fileno(), decompressor.decompress(packed, _CHUNK), at, name=name)
    return at
