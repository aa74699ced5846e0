"""A TCP connection that is begun before anything is imported that speaks over it: importing `socket` takes as long as a peer to answer."""

from __future__ import annotations

from _socket import SOCK_STREAM, getaddrinfo, socket
from _thread import allocate_lock, start_new_thread

from ._hosts import address, endpoint
from ._typing import Any

__all__ = ["CONNECT_TIMEOUT", "Dial"]

CONNECT_TIMEOUT = 2.5  # seconds for each address of a host


class Dial:
    """A connection on its way to the host of a URL."""

    def __init__(self, url: str) -> None:
        self.secure, self.host, _ = address(url)
        self._found: socket | OSError = OSError("the host has no address")
        self._ended = allocate_lock()
        self._ended.acquire()
        start_new_thread(self._connect, ())

    def descriptor(self) -> int:
        """Of the open connection, which is its caller's from now on. Raises `OSError`."""
        with self._ended:
            if isinstance(self._found, OSError):
                raise self._found
            return self._found.detach()

    def _connect(self) -> None:
        try:
            for family, kind, protocol, _, found in getaddrinfo(*endpoint(self.host, secure=self.secure), 0, SOCK_STREAM):
                if self._connects((family, kind, protocol), found):
                    return
        except (OSError, ValueError) as error:  # the latter for a host that is none
            self._found = OSError(str(error))
        finally:
            self._ended.release()

    def _connects(self, kind: tuple[int, int, int], to: Any) -> bool:
        try:
            connection = socket(*kind)
        except OSError as error:  # of a family that there is no network for
            self._found = error
            return False
        try:
            connection.settimeout(CONNECT_TIMEOUT)
            connection.connect(to)
        except OSError as error:
            connection.close()
            self._found = error
            return False
        self._found = connection
        return True
