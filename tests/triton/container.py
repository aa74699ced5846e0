"""SageMaker's side of the multi-model container contract, spoken to a real Triton.

https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from tests.triton.repository import adapt
from tests.triton.server import TritonServer

__all__ = ["Container", "Refused"]

_TARGET = "X-Amzn-SageMaker-Target-Model"


class Refused(Exception):
    """Triton would not load or unload a model; `status` and its own words."""

    def __init__(self, what: str, name: str, status: int, body: bytes) -> None:
        super().__init__(f"Triton does not {what} {name!r}: {status} {body.decode(errors='replace')}")
        self.status = status


class Container:
    """Models by `TargetModel`; what the archive is beside, SageMaker knows it by a hash of that name."""

    def __init__(self, server: TritonServer) -> None:
        self._server = server

    def load(self, name: str, folder: Path) -> None:
        """Loads what was unpacked into `folder`. Raises `Refused`."""
        adapt(folder, self._place(name))
        document = json.dumps({"model_name": _hash(name), "url": str(self._place(name))}).encode()
        status, _, body = self._server.request("POST", "/models", document, {"Content-Type": "application/json", _TARGET: name})
        if status != 200:
            raise Refused("load", name, status, body)

    def loaded(self, name: str) -> bool:
        """Whether Triton has it."""
        return self._server.request("GET", f"/models/{_hash(name)}", headers={_TARGET: name})[0] == 200

    def invoke(self, name: str, content_type: str, body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body as Triton answers them."""
        return self._server.request("POST", f"/models/{_hash(name)}/invoke", body, {"Content-Type": content_type, _TARGET: name})

    def unload(self, name: str) -> None:
        """Returns when it is gone. Raises `Refused`."""
        status, _, body = self._server.request("DELETE", f"/models/{_hash(name)}", headers={_TARGET: name})
        if status != 200:
            raise Refused("unload", name, status, body)
        shutil.rmtree(self._place(name))

    def _place(self, name: str) -> Path:
        """As /opt/ml/models/<hash>/model on SageMaker."""
        return self._server.folder / _hash(name) / "model"


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]
