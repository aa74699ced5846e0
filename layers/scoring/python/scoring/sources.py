"""The files of a data set as they lie there: what names their content, and whether each is still the one that was planned."""

from __future__ import annotations

import hashlib
from typing import Any

from .errors import FileChanged
from .plan import File

__all__ = ["check", "fingerprint"]

_PIECE = 4 * 2**20


def fingerprint(source: Any) -> str:
    """What names an open file's content: `etag:…` where the file system keeps one, else `sha256:…` of all of it."""
    if tag := _etag(source):
        return tag
    digest = hashlib.sha256()
    while piece := source.read(_PIECE):
        digest.update(piece)
    return f"sha256:{digest.hexdigest()}"


def check(fs: Any, file: File, *, written: int | None = None) -> int | None:
    """When a file was written, in ns since 1970, for a later call; None where an ETag tells more. Raises `FileChanged`.

    It must have the size that was planned, its ETag if it has one, and not be written since a time that is given.
    """
    try:
        with fs.open_input_file(file.path) as source:
            size, tag = source.size(), _etag(source)
    except FileNotFoundError:
        raise FileChanged(file.path, "none", f"{file.size:,} bytes") from None
    if size != file.size:
        raise FileChanged(file.path, f"{size:,} bytes", f"{file.size:,} bytes")
    if tag:
        if tag != file.hash:
            raise FileChanged(file.path, tag, file.hash)
        return None
    now: int = fs.get_file_info(file.path).mtime_ns
    if written not in {None, now}:
        raise FileChanged(file.path, "that it was written while it was read", "that it stays as it is")
    return now


def _etag(source: Any) -> str | None:
    tags = {key.lower(): value for key, value in (source.metadata() or {}).items()}
    return f"etag:{tags['etag'].decode().strip(chr(34))}" if tags.get("etag") else None
