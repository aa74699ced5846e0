"""Files on any file system: written whole or not at all, with their size and SHA-256."""

from __future__ import annotations

import errno
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Any, TypeVar

from pyarrow.fs import FileType

from .errors import DataSetError

__all__ = ["OBJECT_STORES", "Output", "output", "put", "read", "sizes", "together"]

OBJECT_STORES = {"s3", "gcs", "abfs"}
_SMALL = 2**20  # is kept in memory until it is whole
_PIECE = 4 * 2**20
_AT_ONCE = 32
_T = TypeVar("_T")
_R = TypeVar("_R")


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
    """A file that is at `path` once the block has ended well; until then, what was there stays. Raises `DataSetError` for a full disk."""
    try:
        with (_uploaded if fs.type_name in OBJECT_STORES else _renamed)(fs, path) as stream:
            yield Output(stream)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        advice = f"make room, in {gettempdir()} too; of a Lambda function, raise its ephemeral storage"
        raise DataSetError(f"the disk is full before all of {path} is written; {advice}") from None


@contextmanager
def _uploaded(fs: Any, path: str) -> Iterator[Any]:
    """Kept here until it is whole: Arrow completes an upload even where its block raises."""
    with SpooledTemporaryFile(_SMALL) as whole:
        yield whole
        whole.seek(0)
        with fs.open_output_stream(path) as stream:
            copyfileobj(whole, stream, _PIECE)


@contextmanager
def _renamed(fs: Any, path: str) -> Iterator[Any]:
    fs.create_dir(path.rpartition("/")[0], recursive=True)
    beside = f"{path}.unfinished"
    with fs.open_output_stream(beside) as stream:
        yield stream
    fs.move(beside, path)


def put(fs: Any, path: str, body: bytes) -> None:
    """Writes a small file."""
    with output(fs, path) as file:
        file.write(body)


def read(fs: Any, path: str) -> bytes | None:
    """All of a small file; None where there is none. Raises `OSError`."""
    try:
        with fs.open_input_stream(path, compression=None) as stream:
            body: bytes = stream.read()
            return body
    except FileNotFoundError:
        return None


def sizes(fs: Any, paths: list[str]) -> list[int | None]:
    """Bytes of each file; None where there is none."""
    return [info.size if info.type == FileType.File else None for info in fs.get_file_info(paths)]


def together(function: Callable[[_T], _R], items: Iterable[_T], *, threads: int = _AT_ONCE) -> Iterator[_R]:
    """What `function` makes of each item, in order, for some of them at once: most of the time of a small file is a store's delay."""
    waiting: deque[Future[_R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
