"""SHA-256: of little by Python's own code, because OpenSSL's library takes longer to load than the hash of a small model."""

from __future__ import annotations

from ._typing import Protocol

try:
    from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore] # since Python 3.12
except ImportError:
    from hashlib import sha256

__all__ = ["Hasher", "hasher", "hmac", "sha256"]

_LITTLE = 2**20
_BLOCK = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


class Hasher(Protocol):
    """A hash on its way."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Of what came before, and `data`."""

    def hexdigest(self) -> str:
        """In hex, of all so far."""


def hasher(size: int) -> Hasher:
    """SHA-256 of `size` bytes that are still to come: OpenSSL's is 6 times as fast, once it is loaded."""
    if size <= _LITTLE:
        return sha256()  # type: ignore[no-any-return,unused-ignore]
    import hashlib  # noqa: PLC0415 - as above

    return hashlib.sha256()


def hmac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256 (RFC 2104) of a message."""
    key = (key if len(key) <= _BLOCK else sha256(key).digest()).ljust(_BLOCK, b"\0")
    digest: bytes = sha256(key.translate(_OUTER) + sha256(key.translate(_INNER) + message).digest()).digest()
    return digest
