"""Files on any file system: written whole or not at all, with their size and SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyarrow.fs import FileType

__all__ = ["Output", "exists", "output", "put", "read", "size_of"]

_OBJECT_STORES = {"s3", "gcs", "abfs"}  # an object appears when it is whole


class Output:
    """A file being written."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: Any) -> None:
        """Bytes, or anything with a buffer of them."""
        self._stream.write(data)
        self._digest.update(data)
        self.size += memoryview(data).nbytes

    @property
    def sha256(self) -> str:
        """In hex, of what was written so far."""
        return self._digest.hexdigest()


@contextmanager
def output(fs: Any, path: str) -> Iterator[Output]:
    """A file that is at `path` once the block has ended well.

    On a disk it is written beside and renamed. An object store may be left with a broken object after an error, which nothing refers to.
    """
    if fs.type_name in _OBJECT_STORES:
        with fs.open_output_stream(path) as stream:
            yield Output(stream)
        return
    fs.create_dir(path.rpartition("/")[0], recursive=True)
    beside = f"{path}.unfinished"
    with fs.open_output_stream(beside) as stream:
        yield Output(stream)
    fs.move(beside, path)


def put(fs: Any, path: str, body: bytes) -> None:
    """Writes a small file."""
    with output(fs, path) as file:
        file.write(body)


def read(fs: Any, path: str) -> bytes | None:
    """All of a small file; None where there is none. Raises `OSError`."""
    if not exists(fs, path):
        return None
    with fs.open_input_stream(path, compression=None) as stream:
        body: bytes = stream.read()
        return body


def exists(fs: Any, path: str) -> bool:
    """Whether there is a file."""
    return bool(fs.get_file_info(path).type == FileType.File)


def size_of(fs: Any, path: str) -> int | None:
    """Bytes of a file; None where there is none."""
    info = fs.get_file_info(path)
    return info.size if info.type == FileType.File else None
