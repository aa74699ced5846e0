"""A large object in ranges over several connections, hashed as it arrives: one connection gives a function less than its network can."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from threading import Condition, Thread

from ._digest import hasher
from ._disk import write
from ._http import HttpResponse
from ._typing import TypeAlias
from .aws import PassingFault
from .errors import UnverifiedModel

__all__ = ["Fetch", "Ranges", "Unranged"]

_PIECE = 8 * 2**20  # bytes of a range
_PER_CONNECTION = 16 * 2**20
_MOST_CONNECTIONS = 4
_BUFFER = 2**20
Fetch: TypeAlias = Callable[[int, int, Callable[[HttpResponse], None]], None]
"""Asks for the bytes from the first number to before the second one, and has the answer read, as often as it takes."""


class Unranged(Exception):
    """The server answers the whole object, whatever range it is asked for."""


class Ranges:
    """One object on its way into a file."""

    def __init__(self, key: str, size: int, fetch: Fetch, *, refused: Callable[[HttpResponse], Exception]) -> None:
        """`refused` says what an answer of another status means."""
        self._key = key
        self._size = size
        self._fetch = fetch
        self._refused = refused
        self._pieces = [(begin, min(begin + _PIECE, size)) for begin in range(0, size, _PIECE)]
        self._waiting = list(reversed(range(len(self._pieces))))
        self._there: set[int] = set()
        self._error: BaseException | None = None
        self._changed = Condition()

    def save(self, to: str) -> str:
        """The SHA-256 of what is in the file `to` then. Raises what `fetch` does, `Unranged`, `UnverifiedModel`, `StoreUnavailable`."""
        with open(to, "wb+", 0) as file:
            file.truncate(self._size)
            number = min(_MOST_CONNECTIONS, -(-self._size // _PER_CONNECTION))
            threads = [Thread(target=self._work, args=(file.fileno(),), daemon=True) for _ in range(number)]
            begun = []
            try:
                for thread in threads:
                    thread.start()
                    begun.append(thread)
                return self._hashed(file.fileno())
            finally:
                self._waiting.clear()
                for thread in begun:  # none may write where the next attempt does
                    thread.join()

    def _hashed(self, descriptor: int) -> str:
        """Follows what has arrived without a gap, so that only the last piece is hashed after the transfer."""
        digest = hasher(self._size)
        with mmap.mmap(descriptor, self._size, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
            for number, (begin, end) in enumerate(self._pieces):
                with self._changed:
                    self._changed.wait_for(lambda number=number: self._error is not None or number in self._there)  # type: ignore[misc]
                if self._error is not None:
                    raise self._error
                with view[begin:end] as piece:
                    digest.update(piece)
        return digest.hexdigest()

    def _work(self, descriptor: int) -> None:
        try:
            buffer = memoryview(bytearray(_BUFFER))
            while self._error is None and (number := self._next()) is not None:
                begin, end = self._pieces[number]
                self._fetch(begin, end, lambda response, begin=begin, end=end: self._read(response, begin, end, descriptor, buffer))  # type: ignore[misc]
                self._tell(number, None)
        except BaseException as error:  # noqa: BLE001 - raised again in `_hashed`
            self._tell(None, error)

    def _next(self) -> int | None:
        """None once another thread has taken the last one."""
        with self._changed:
            return self._waiting.pop() if self._waiting else None

    def _tell(self, number: int | None, error: BaseException | None) -> None:
        with self._changed:
            if number is not None:
                self._there.add(number)
            self._error = self._error or error
            self._changed.notify()

    def _read(self, response: HttpResponse, begin: int, end: int, descriptor: int, buffer: memoryview) -> None:
        self._check(response, begin, end)
        for piece in response.pieces(buffer):
            begin = write(descriptor, piece, begin, name=self._key)

    def _check(self, response: HttpResponse, begin: int, end: int) -> None:
        """Raises unless the answer is of these bytes of an object of this size."""
        if response.status == 200:
            raise Unranged
        if response.status not in {206, 416}:
            raise self._refused(response)
        if "transfer-encoding" in response.headers:
            raise PassingFault("a range in chunks, which no S3 answers")
        span, _, total = response.headers.get("content-range", "").removeprefix("bytes ").partition("/")
        if total.isdecimal() and int(total) != self._size:
            raise UnverifiedModel(self._key, f"{total} bytes", f"{self._size} bytes")
        length = response.headers.get("content-length", "")
        if response.status == 416 or span != f"{begin}-{end - 1}" or length != str(end - begin):
            raise PassingFault(f"HTTP {response.status} with {length[:20]!r} bytes of {span[:40]!r} for those of {begin}-{end - 1}")
