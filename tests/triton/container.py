"""SageMaker's side of the multi-model container contract, spoken to a real Triton.

https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path

from tests.triton.repository import adapt
from tests.triton.server import TritonServer
from tools.local.containers import LoadFailed

__all__ = ["TritonContainer"]

_TARGET = "X-Amzn-SageMaker-Target-Model"


class TritonContainer:
    """Models by `TargetModel`, which SageMaker sends beside a hash of it; satisfies `tools.local.containers.Container`."""

    def __init__(self, server: TritonServer) -> None:
        self._server = server
        self.loads = 0
        self.answers: Counter[int] = Counter()
        """By status."""

    def load(self, name: str, folder: Path) -> None:
        """Loads what was unpacked into `folder`. Raises `LoadFailed`."""
        adapt(folder, self._place(name))
        document = json.dumps({"model_name": _hash(name), "url": str(self._place(name))}).encode()
        status, _, body = self._server.request("POST", "/models", document, {"Content-Type": "application/json", _TARGET: name})
        if status != 200:
            raise LoadFailed(f"{status}: {_error(body)}")
        self.loads += 1

    def loaded(self, name: str) -> bool:
        """Whether Triton has it."""
        return self._server.request("GET", f"/models/{_hash(name)}", headers={_TARGET: name})[0] == 200

    def invoke(self, name: str, content_type: str, body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body as Triton answers them."""
        answer = self._server.request("POST", f"/models/{_hash(name)}/invoke", body, {"Content-Type": content_type, _TARGET: name})
        self.answers[answer[0]] += 1
        return answer

    def unload(self, name: str) -> None:
        """Returns when it is gone."""
        status, _, body = self._server.request("DELETE", f"/models/{_hash(name)}", headers={_TARGET: name})
        if status not in {200, 404}:
            raise RuntimeError(f"Triton does not unload {name!r}: {status} {_error(body)}")
        shutil.rmtree(self._place(name).parent, ignore_errors=True)

    def _place(self, name: str) -> Path:
        """As /opt/ml/models/<hash>/model on SageMaker."""
        return self._server.folder / _hash(name) / "model"


def _error(body: bytes) -> str:
    """Triton's words; a model that it doesn't have is answered for without any."""
    return str(json.loads(body)["error"]) if body else ""


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]
