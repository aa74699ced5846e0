"""A request and a response of HTTP, without a socket."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Request", "Response"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client sent."""

    method: str
    target: str
    """Path and query, as sent."""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    source_ip: str = "127.0.0.1"

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


@dataclass(frozen=True, kw_only=True)
class Response:
    """What the client gets; `Content-Length` is the socket's matter."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
