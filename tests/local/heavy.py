"""Models of the `release` deployment that endpoints run."""

from __future__ import annotations

import json
from dataclasses import replace as changed
from typing import Any

from modelserve.endpoints import Response
from modelserve.manifest import ARCHIVE_FILE, MODEL_FILE, File, Manifest
from modelserve.record import replace
from modelserve.session import open_session
from modelserve.tensors import Tensor, made, to_list
from tests.local.releases import NAME, Served, call, config
from tools.local.stack import LocalStack
from tools.modelctl import triton
from tools.modelctl.deployment import Deployment, on_this_machine
from tools.modelctl.endpoints import prepare
from tools.modelctl.paths import EXAMPLE_FILE


class Heavy(Served):
    """Publishes as `modelctl` does for such a model: its archive beside the file."""

    def __init__(self, served: Served, stack: LocalStack) -> None:
        super().__init__(stack, served.name, served._folder)
        self.stack = stack

    def publish(self, content: bytes, *, labels: tuple[str, ...] = ()) -> str:
        gpu = config(self.name).gpu
        file, archive, example = (self._folder / name for name in (MODEL_FILE, ARCHIVE_FILE, EXAMPLE_FILE))
        file.write_bytes(content)
        session = open_session(str(file), name=self.name, threads=1)
        listed = File(path=MODEL_FILE, size=len(content), sha256="0" * 64)
        draft = Manifest(
            name=self.name, version="", created="", task="regression", labels=labels, inputs=session.inputs, outputs=session.outputs,
            files=(listed,), opset={"": 21}, ir=10,
        )  # fmt: skip
        triton.archive(file, draft, gpu, archive)
        example.write_bytes(_example(draft))
        draft = replace(draft, max_batch=triton.max_batch(draft, gpu))
        return self.registry.publish(draft, {MODEL_FILE: file, ARCHIVE_FILE: archive, EXAMPLE_FILE: example}).version

    def promote(self, version: str, alias: str = "production") -> str:
        """As `modelctl promote`: the endpoint has the version before the alias names it."""
        prepare(self._deployment, self.registry.manifest(self.name, version), alias=alias, pause=0.05)
        return super().promote(version, alias)

    @property
    def _deployment(self) -> Deployment:
        found = on_this_machine(self.stack.endpoint_url, self.bucket, self.stack.region)
        return changed(found, stacks=NAME, endpoints={"sagemaker-runtime": self.stack.runtime_url})

    def get(self, path: str = "", **headers: str) -> Response:
        return call(self.stack, "GET", f"/v2/models/{self.name}{path}", headers=headers)

    def infer(self, rows: Any, *, version: str = "", **more: Any) -> Response:
        """`rows` is the array `x`, as a list; `more` goes into the request."""
        tensor = {"name": "x", "datatype": "FP32", "shape": [len(rows), len(rows[0])], "data": rows}
        path = f"/v2/models/{self.name}{version}/infer"
        return call(self.stack, "POST", path, json.dumps({"inputs": [tensor], **more}).encode())


def _example(draft: Manifest) -> bytes:
    """Zeros and empty strings."""
    tensors = [made(spec) for spec in draft.inputs]
    return json.dumps({"inputs": [{**_head(tensor), "data": to_list(tensor)} for tensor in tensors]}).encode()


def _head(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
