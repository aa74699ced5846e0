"""A call beside what its caller does next: a network, a hash or a library waits while Python goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ._typing import Generic, TypeVar

__all__ = ["Background"]

_T = TypeVar("_T")


class Background(Generic[_T]):
    """A call on a thread of its own, and what became of it."""

    def __init__(self, call: Callable[[], _T], *, finishes: bool = False) -> None:
        """A process that ends waits for a call that `finishes`: native code that is at work then may crash."""
        self._call = call
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=not finishes)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:  # noqa: BLE001 - raised again in `result`
            self._error = error

    @property
    def failed(self) -> bool:
        """Whether the call has ended, and raised."""
        return self._error is not None

    def wait(self, seconds: float | None = None) -> bool:
        """Until the call has ended, however; False where that takes longer than `seconds`."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> _T:
        """Raises what the call raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value
