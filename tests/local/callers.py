"""Calls to the whole app as its clients make them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from modelserve.endpoints import Response
from tests.local.releases import eventually, send
from tools.local.stack import LocalStack
from tools.modelctl.paths import BUILD, EXAMPLE_FILE

MINE, OTHERS = "tumour", "income"
"""Models: the one that a test's client may call, and one that it may not."""
KEY = re.compile(r"sox\.[a-z][a-z0-9-]{0,31}\.[A-Za-z0-9_-]{43}")
Ask = Callable[..., Response]


def asking(stack: LocalStack) -> Ask:
    """Calls a path with a key, or with an Authorization header as it stands; with a body it posts."""

    def ask(path: str, key: str | None = None, *, header: str | None = None, body: bytes | None = None) -> Response:
        value = header if key is None else f"Bearer {key}"
        headers = {} if value is None else {"Authorization": value}
        return send(stack.url, "GET" if body is None else "POST", path, body or b"", headers)

    return ask


def example(model: str) -> bytes:
    return (BUILD / model / EXAMPLE_FILE).read_bytes()


def infer(model: str) -> str:
    return f"/v2/models/{model}/infer"


def refused(response: Response, status: int) -> str:
    """The reason: each refusal has the protocol's shape, and nothing else in it."""
    assert response.status == status, response.body
    assert response.headers["Content-Type"] == "application/json"
    document: dict[str, Any] = json.loads(response.body)
    assert list(document) == ["error"]
    assert isinstance(document["error"], str)
    return document["error"]


def until(ask: Callable[[], Response], status: int) -> Response:
    """Waits for as long as the gateway goes by what it was told of a key before."""
    return eventually(ask, lambda answer: answer.status == status)
