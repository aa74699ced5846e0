"""What Lambda hands to a function that uses Powertools, and what that function's logger writes."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Context:
    """Lambda's context object."""

    function_name: str = "a-function"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:a-function"
    aws_request_id: str = "a-request"


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """What is logged meanwhile; a handler of the function has been made before, whose stream the logger keeps."""
    (handler,) = logging.getLogger("serverless-onnx").handlers
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    before = handler.setStream(written)
    yield written
    handler.setStream(before)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    """Each as its keys and values."""
    return [json.loads(line) for line in log.getvalue().splitlines()]
