"""Compressed bodies, recognised by their first bytes, since a gateway may have decoded them already."""

from __future__ import annotations

from ._typing import TYPE_CHECKING
from .errors import InvalidRequest, PayloadTooLarge

if TYPE_CHECKING:
    from .tensors import Data

__all__ = ["decompress"]

_GZIP = b"\x1f\x8b\x08"
_ZLIB_METHOD = 8


def decompress(body: bytes, encoding: str | None, *, limit: int) -> Data:
    """`body` as it was before gzip or deflate; as it is when it is neither, whatever `encoding` says.

    Raises `PayloadTooLarge` for more than `limit` bytes, and before more are made, `InvalidRequest` for a broken or unknown encoding.
    """
    if len(body) > limit:
        raise PayloadTooLarge("the body", limit, "send fewer rows in a request")
    if encoding is None or (name := encoding.strip().lower()) in {"", "identity"}:
        return body
    if name not in {"gzip", "deflate"}:
        raise InvalidRequest(f"Content-Encoding {encoding!r:.60} can't be read; send gzip, deflate or none")
    if body.startswith(_GZIP) or _is_zlib(body):
        return _inflate(body, limit)
    return body


def _is_zlib(body: bytes) -> bool:
    """The header of RFC 1950: method 8, and a checksum of the first two bytes."""
    return len(body) >= 2 and body[0] & 0x0F == _ZLIB_METHOD and body[0] >> 4 <= 7 and (body[0] << 8 | body[1]) % 31 == 0


def _inflate(body: bytes, limit: int) -> bytes:
    import zlib  # noqa: PLC0415 - few bodies are compressed

    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, whichever the header says
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidRequest(f"the compressed body is broken: {error}; compress it again, or send it plain") from None
    if len(plain) > limit:
        raise PayloadTooLarge("the decompressed body", limit, "send fewer rows in a request")
    if not inflater.eof:
        raise InvalidRequest("the compressed body ends too early; send all of it")
    if inflater.unused_data:
        raise InvalidRequest(f"{len(inflater.unused_data)} bytes follow the compressed body; send it as one stream")
    return plain
