"""Our side: the predict function and, for what nobody can save, the runtime client alone."""

from __future__ import annotations

import json

from tools.bench.peers.talk import INFERENCE
from tools.loopback.errors import MeasureError

__all__ = ["ALONE", "read"]

ALONE = """
import sys, types
module = types.ModuleType("alone")
module.handler = lambda event, context: {"statusCode": 200, "body": sys.argv[1]}
sys.modules["alone"] = module
from awslambdaric.__main__ import main
main(["awslambdaric", "alone.handler"])
"""
"""A function that answers its argument."""


def read(answer: bytes) -> list[float]:
    """The label, then the probabilities. Raises `MeasureError`."""
    document = json.loads(answer)
    if document.get("statusCode") != 200:
        raise MeasureError(f"the function answered {document}")
    return INFERENCE.read(json.loads(document["body"]))
