"""Requests that no honest client sends, and what each is refused with."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any, NamedTuple

from tests.local.releases import request
from tests.unit.modelserve.factories import document, tensor

INFER = "/v2/models/sturdy/infer"
_RIGHT = request()
_GARBAGE_VERSION = "20990101T000000Z-00000000"
_LENGTH = "Inference-Header-Content-Length"


class Hostile(NamedTuple):
    """A request; `status` is of the refusal."""

    body: bytes = b""
    path: str = INFER
    method: str = "POST"
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody writes to it
    status: int = 400


def _json(*tensors: Any, **keys: Any) -> Hostile:
    return Hostile(json.dumps(document(*tensors, **keys)).encode())


def _get(path: str, status: int = 404) -> Hostile:
    return Hostile(path=path, method="GET", status=status)


def _measured(length: object, body: bytes = _RIGHT) -> Hostile:
    return Hostile(body, headers={_LENGTH: str(length)})


def _swollen(element: str, size: int, status: int) -> Hostile:
    """JSON of `size` MiB that takes many times its size once it is read, and next to nothing on the wire."""
    data = ",".join([element] * (size * 2**20 // (len(element) + 1)))
    body = f'{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1],"data":[{data}]}}]}}'
    return _encoded("gzip", gzip.compress(body.encode(), 1), status)


def _encoded(encoding: str, body: bytes, status: int = 400) -> Hostile:
    return Hostile(body, headers={"Content-Encoding": encoding}, status=status)


def _binary(size: object, sent: int) -> Hostile:
    head = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": size}}]}).encode()
    return Hostile(head + b"\0" * sent, headers={_LENGTH: str(len(head))})


_DATA = [1.0, 2.0, 3.0]
REQUESTS: dict[str, Hostile] = {
    "no body": Hostile(),
    "null": Hostile(b"null"),
    "a list": Hostile(b"[]"),
    "no inputs": Hostile(b"{}"),
    "empty inputs": Hostile(b'{"inputs": []}'),
    "inputs is an object": Hostile(b'{"inputs": {}}'),
    "an input is null": Hostile(b'{"inputs": [null]}'),
    "cut off": Hostile(_RIGHT[:-5]),
    "something behind": Hostile(_RIGHT + b"]"),
    "no UTF-8": Hostile(b"\xff\xfe\x00"),
    "UTF-16": Hostile(_RIGHT.decode().encode("utf-16")),
    "nested lists": Hostile(b"[" * 200_000),
    "nested objects": Hostile(b'{"a":' * 100_000),
    "nested data": Hostile(_RIGHT.replace(b"[1, 2, 3]", b"[" * 5000 + b"]" * 5000)),
    "an input twice": _json(tensor(_DATA), tensor(_DATA)),
    "another name": _json(tensor(_DATA, name="z")),
    "a huge name": _json(tensor(_DATA, name="x" * 100_000)),
    "a name that is a number": _json(tensor(_DATA, name=7)),  # type: ignore[arg-type]
    "another datatype": _json(tensor(_DATA, datatype="FP64")),
    "no such datatype": _json(tensor(_DATA, datatype="fp32")),
    "another rank": _json(tensor(_DATA, shape=(3,))),
    "another width": _json(tensor([*_DATA, 4.0], shape=(1, 4))),
    "fewer data": _json(tensor(_DATA, shape=(2, 3))),
    "a negative shape": _json(tensor(_DATA, shape=(-1, 3))),
    "a huge shape": _json(tensor(_DATA, shape=(2**62, 3))),
    "a shape beyond 64 bits": _json(tensor(_DATA, shape=(10**30, 3))),
    "a shape of booleans": _json(tensor(_DATA, shape=(True, 3))),
    "data that is null": _json(tensor(None)),
    "data that is text": _json(tensor(["1", "2", "3"])),
    "ragged data": _json(tensor([[1.0, 2.0], [3.0]])),
    "an output that is not there": _json(outputs=[{"name": "z"}]),
    "outputs is text": _json(outputs="y"),
    "an id that is an object": _json(id={}),
    "parameters is a list": _json(parameters=[]),
    "shared memory": _json(tensor(_DATA, parameters={"shared_memory_region": "region"})),
    "classes without end": _json(outputs=[{"name": "y", "parameters": {"classification": 10**30}}]),
    "a negative header length": _measured(-1),
    "a header length in words": _measured("many"),
    "a header length beyond the body": _measured(10**6),
    "a header length beyond 64 bits": _measured(10**30),
    "a header length within the object": _measured(10),
    "a raw body of half a row": _measured(0, b"\0" * 6),
    "binary data that ends early": _binary(12, 8),
    "binary data with some behind": _binary(12, 16),
    "binary data of another size": _binary(8, 8),
    "a negative binary size": _binary(-12, 12),
    "a binary size beyond 64 bits": _binary(10**30, 12),
    "brotli": _encoded("br", _RIGHT),
    "gzip that ends early": _encoded("gzip", gzip.compress(_RIGHT)[:-9]),
    "broken deflate": _encoded("deflate", zlib.compress(_RIGHT)[:10] + b"\xff" * 10),
    **{
        f"{size} MiB of {element}": _swollen(element, size, status)
        for element in ("[]", "{}", "1.5")
        for size, status in ((20, 400), (60, 413))
    },
    "a gzip bomb": _encoded("gzip", gzip.compress(b" " * 80 * 2**20, 9), 413),
    "more than Lambda takes": Hostile(b" " * 5 * 2**20, status=413),
    "up and out": _get("/v2/models/sturdy/../../../etc/passwd"),
    "up and out, escaped": _get("/v2/models/sturdy/versions/%2e%2e%2f%2e%2e/ready"),
    "an alias outside": _get("/v2/models/sturdy/versions/..%2f..%2fflowing%2faliases%2fproduction/ready"),
    "a zero byte": _get("/v2/models/sturdy%00/ready"),
    "no UTF-8 in the path": _get("/v2/models/%ff%fe/ready"),
    "a header in the path": _get("/v2/models/sturdy%0d%0aX-Injected:%20yes/ready"),
    "a huge version": _get(f"/v2/models/sturdy/versions/{'a' * 8000}/ready"),
    "a version that never was": _get(f"/v2/models/sturdy/versions/{_GARBAGE_VERSION}"),
    "another model": Hostile(_RIGHT, path="/v2/models/nobody/infer", status=404),
    "behind the route": Hostile(_RIGHT, path=f"{INFER}/more", status=404),
    "another method": Hostile(path=INFER, method="DELETE", status=405),
    "a post to what is read": Hostile(path="/v2/models/sturdy/ready", status=405),
    "no path of ours": _get("/elsewhere", 403),
    "loading at a caller's whim": Hostile(path="/v2/repository/models/sturdy/load", status=400),
    "an index of nonsense": Hostile(b"[", path="/v2/repository/index"),
    "an index of numbers": Hostile(b'{"ready": 1}', path="/v2/repository/index"),
}
