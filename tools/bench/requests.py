"""Events of every kind that a model's function answers, made from one inference request."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Mapping
from typing import Any

__all__ = ["binary", "events", "inference"]


def inference(event: Mapping[str, Any], *, rows: int) -> dict[str, Any]:
    """The same request, its first tensor's first row `rows` times."""
    document = json.loads(event["body"])
    tensor = document["inputs"][0]
    row = tensor["data"][: _width(tensor)]
    return {**event, "body": json.dumps({"inputs": [{**tensor, "shape": [rows, *tensor["shape"][1:]], "data": row * rows}]})}


def binary(event: Mapping[str, Any]) -> dict[str, Any]:
    """Its first tensor, which is FP32, after the JSON; the answer is asked for in the same way."""
    document = json.loads(event["body"])
    tensor = document["inputs"][0]
    content = struct.pack(f"<{len(tensor['data'])}f", *tensor["data"])
    named = {key: value for key, value in tensor.items() if key != "data"} | {"parameters": {"binary_data_size": len(content)}}
    header = json.dumps({"inputs": [named], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(header))}
    return {**event, "headers": headers, "body": base64.b64encode(header + content).decode(), "isBase64Encoded": True}


def events(event: Mapping[str, Any]) -> dict[str, tuple[int, dict[str, Any]]]:
    """By what it is: the status that is due, 0 for an event that is no HTTP request, and the event."""
    path = event["path"]
    model, many = path.removesuffix("/infer"), inference(event, rows=32)
    zipped = base64.b64encode(gzip.compress(many["body"].encode())).decode()
    document = json.loads(event["body"])
    named = {**document, "outputs": [{"name": "probabilities", "parameters": {"classification": 2}}]}
    return {
        "JSON, one row": (200, dict(event)),
        "JSON, 32 rows": (200, many),
        "JSON, gzip": (200, {**event, "headers": {"Content-Encoding": "gzip"}, "body": zipped, "isBase64Encoded": True}),
        "binary": (200, binary(event)),
        "binary, 1,000 rows": (200, binary(inference(event, rows=1000))),
        "classes": (200, {**event, "body": json.dumps(named)}),
        "by a service": (0, document),
        "metadata": (200, {**event, "httpMethod": "GET", "path": model, "body": None}),
        "ready": (200, {**event, "httpMethod": "GET", "path": f"{model}/ready", "body": None}),
        "health": (200, {**event, "httpMethod": "GET", "path": "/v2/health/ready", "body": None}),
        "no JSON": (400, {**event, "body": "{"}),
        "another shape": (400, {**event, "body": json.dumps({"inputs": [{**document["inputs"][0], "shape": [1, 1], "data": [1.0]}]})}),
        "no such model": (404, {**event, "path": "/v2/models/nobody/infer"}),
        "another method": (405, {**event, "httpMethod": "PUT"}),
    }


def _width(tensor: Mapping[str, Any]) -> int:
    """Numbers in a row."""
    return len(tensor["data"]) // int(tensor["shape"][0])
