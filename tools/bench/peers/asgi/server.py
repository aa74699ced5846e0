"""The least that a Python HTTP server can do: ASGI without a framework, orjson, no validation, no routes."""

import os
from typing import Any

import numpy as np
import onnxruntime
import orjson

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])


async def app(_scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Runs the graph at `MODEL`."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    rows = np.array(orjson.loads(body)["rows"], np.float32)
    label, probabilities = session.run(["label", "probabilities"], {"input": rows})
    answer = orjson.dumps({"label": label, "probabilities": probabilities}, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
