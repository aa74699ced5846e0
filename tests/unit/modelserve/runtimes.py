"""A SageMaker endpoint in memory: ONNX Runtime behind requests and answers as Triton has them, at once or when a test says so."""

from __future__ import annotations

import json
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from modelserve.endpoint import EndpointModel
from modelserve.manifest import archive_version
from modelserve.record import replace
from modelserve.s3 import S3Bucket
from modelserve.sagemaker import Endpoint, model_error
from modelserve.session import Session
from tools.local import triton
from tools.local.triton import Spec

from .factories import NAME, VERSION, manifest
from .graphs import session
from .stores import MemoryStore

BUCKET = "jobs"
_ADDRESS = f"s3://{BUCKET}/"


class JobBucket(MemoryStore, S3Bucket):
    """A bucket in memory, read up to a size, in which objects may be replaced."""

    def replace(self, key: str, body: bytes) -> None:
        self._reach("replace", key)
        self.objects[key] = [body]

    def size(self, key: str) -> int:
        return len(self._read("size", key, None))

    def read(self, key: str, *, most: int, version_id: str | None = None) -> bytes | None:
        body = self._read("read", key, version_id)
        return body if len(body) <= most else None

    def put(self, key: str, body: bytes | Path, *, if_etag: str | None = None) -> None:
        super().put(key, body, if_etag=if_etag)


class Runtime(Endpoint):
    """For one version; `down` is raised by whatever asks it."""

    def __init__(self, graph: bytes, bucket: JobBucket | None = None, *, model: str = NAME) -> None:
        self.name = "an-endpoint"
        self.graph = graph
        self.bucket = bucket or JobBucket()
        self.version = VERSION
        """That an asynchronous endpoint runs."""
        self.down: Exception | None = None
        self.asked: list[tuple[str, bytes, str | None]] = []
        self.waiting: list[tuple[str, str, str, str]] = []
        self._model = model
        self._numbers = count()

    def invoke(self, content_type: str, body: bytes, target_model: str | None, *, seconds: float) -> tuple[str, bytes]:
        assert seconds > 0
        self.asked.append((content_type, body, target_model))
        if self.down:
            raise self.down
        status, found, answer = self._run(content_type, body, str(target_model).split("/")[2] if target_model else self.version)
        if status != 200:
            raise model_error(self._model, self.name, _told(status, answer))
        return found, answer

    def invoke_async(self, input_location: str, content_type: str, inference_id: str, *, seconds: float) -> tuple[str, str]:
        assert seconds > 0
        if self.down:
            raise self.down
        job = f"{self._model}/{{}}/{next(self._numbers)}"
        answer, failure = f"{job.format('answers')}.out", f"{job.format('failures')}-error.out"
        self.waiting.append((input_location.removeprefix(_ADDRESS), content_type, answer, failure))
        assert inference_id in input_location
        return _ADDRESS + answer, _ADDRESS + failure

    def work(self) -> None:
        """Answers all that waits, as SageMaker would."""
        while self.waiting:
            key, content_type, answer, failure = self.waiting.pop()
            status, _, body = self._run(content_type, self.bucket.objects[key][-1], self.version)
            self.bucket.put(answer if status == 200 else failure, body if status == 200 else _told(status, body))

    def _run(self, content_type: str, body: bytes, version: str) -> tuple[int, str, bytes]:
        request = triton.parse(content_type, body)
        ran = _opened(self.graph)
        specs = {spec.name: Spec(spec.name, spec.datatype, spec.shape) for spec in ran.outputs}
        wanted = list(request.outputs or specs)
        try:
            found = vars(ran)["_session"].run(wanted, dict(request.arrays))
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions share no other base
            return 400, "application/json", json.dumps({"error": f"onnx runtime error 2: {error}"}).encode()
        return 200, *triton.answer(request, (self._model, str(archive_version(version[-8:]))), specs, dict(zip(wanted, found, strict=True)))


def behind(runtime: Runtime, *, labels: tuple[str, ...] = (), version: str = VERSION, **settings: Any) -> EndpointModel:
    """The version that `runtime` runs, one request after the other."""
    ran = _opened(runtime.graph)
    described = replace(manifest(labels=labels, version=version), inputs=ran.inputs, outputs=ran.outputs, max_batch=0)
    return EndpointModel(described, runtime, queued=True, **settings)


@cache
def _opened(graph: bytes) -> Session:
    return session(graph, backend="binding")  # whose session the endpoint's part calls itself


def _told(status: int, body: bytes) -> bytes:
    """What SageMaker makes of a container's error."""
    return f'Received client error ({status}) from primary with message "{body.decode()}". See https://console for more.'.encode()
