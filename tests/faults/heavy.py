"""A model behind an endpoint of its own, and the real gateway function that asks for it: at once, or as jobs."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

from models.config import GpuConfig
from modelserve.manifest import ARCHIVE_FILE, MODEL_FILE, File, Manifest, TensorSpec
from modelserve.record import replace
from modelserve.settings import GatewaySettings
from tests.faults.proxy import Proxy
from tests.faults.world import BUCKET, JOBS, Answer, Served, World, function, read
from tests.unit.modelserve.graphs import scaled
from tools.local.cloud import CREDENTIALS
from tools.modelctl import triton

__all__ = ["FACTOR", "Heavy"]

FACTOR = 2.0
"""What the model multiplies by."""
_REALTIME, _QUEUED = GpuConfig(max_batch=4), GpuConfig(mode="async")
_USUAL = {"BatchRows", "ColdStart", "Latency", "LoadFailure", "LoadTime"}
_PATIENCE = 10.0  # seconds for a job


class Heavy(Served):
    """`proxy` leads to the endpoint; the store's is the world's own."""

    def __init__(self, world: World, name: str, proxy: Proxy, *, queued: bool, seconds: float) -> None:
        """`queued` for an asynchronous endpoint; `seconds` is the function's deadline."""
        settings = GatewaySettings(
            model_name=name, model_bucket=BUCKET, endpoint_name=name, job_bucket=JOBS if queued else "", deadline_seconds=seconds
        )
        services = {**CREDENTIALS, "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": proxy.url}
        super().__init__(world, function(name, settings.to_env()), world.gateway, services)
        self._world = world
        self._queued = queued
        self._asked = 0

    def deploy(self) -> None:
        """Publishes a version, makes an endpoint for it, and promotes it."""
        gpu = _QUEUED if self._queued else _REALTIME
        file, archive = self._folder / MODEL_FILE, self._folder / ARCHIVE_FILE
        size = file.write_bytes(scaled(FACTOR))
        x, y = (TensorSpec(name=name, datatype="FP32", shape=(-1, 3)) for name in "xy")
        draft = Manifest(
            name=self.name,
            version="",
            created="",
            task="regression",
            inputs=(x,),
            outputs=(y,),
            files=(File(path=MODEL_FILE, size=size, sha256="0" * 64),),
            opset={"": 21},
            ir=10,
        )
        triton.archive(file, draft, gpu, archive)
        draft = replace(draft, max_batch=triton.max_batch(draft, gpu))
        version = self.registry.publish(draft, {MODEL_FILE: file, ARCHIVE_FILE: archive}).version
        self._make_endpoint(version)
        self.promote(version)

    def ask(self) -> Answer:
        """Another row each time, a job's until it has its answer."""
        self._asked += 1
        answered = self.infer(self._asked)
        ends = time.monotonic() + _PATIENCE
        while answered.get("statusCode") == 202 and time.monotonic() < ends:
            time.sleep(0.02)
            answered = self.call("GET", json.loads(answered["body"])["status_url"].partition(self.name)[2])
        return read(answered, self._asked)

    @property
    def kinds(self) -> Counter[str]:
        """Of the errors in the metrics."""
        blobs = [blob for blob in self.log() if "_aws" in blob]
        names = [metric["Name"] for blob in blobs for metric in blob["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
        return Counter(name for name in names if name not in _USUAL)

    def statuses(self) -> dict[str, int]:
        """What a caller who guesses the id of a job is told, for each that has left anything in the bucket."""
        listed = self._world.s3.list_objects_v2(Bucket=JOBS, Prefix=f"{self.name}/-/").get("Contents", [])
        jobs = sorted({each["Key"].split("/")[2] for each in listed})
        return {job: self.call("GET", f"/jobs/{job}")["statusCode"] for job in jobs}

    def _make_endpoint(self, version: str) -> None:
        sagemaker = self._world.cloud.client("sagemaker")
        archives = f"s3://{BUCKET}/models/"
        image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/sagemaker-tritonserver:26.03-py3"
        container = {"Image": image, "Mode": "MultiModel", "ModelDataUrl": archives}
        config: dict[str, Any] = {}
        if self._queued:
            container |= {"Mode": "SingleModel", "ModelDataUrl": f"{archives}{self.name}/versions/{version}/{ARCHIVE_FILE}"}
            answers = {"S3OutputPath": f"s3://{JOBS}/{self.name}/answers/", "S3FailurePath": f"s3://{JOBS}/{self.name}/failures/"}
            config = {"AsyncInferenceConfig": {"OutputConfig": answers}}
        variant = {"VariantName": "AllTraffic", "ModelName": self.name, "InitialInstanceCount": 1, "InstanceType": "ml.g4dn.xlarge"}
        sagemaker.create_model(ModelName=self.name, ExecutionRoleArn="arn:aws:iam::123456789012:role/endpoint", PrimaryContainer=container)
        sagemaker.create_endpoint_config(EndpointConfigName=self.name, ProductionVariants=[variant], **config)
        sagemaker.create_endpoint(EndpointName=self.name, EndpointConfigName=self.name)
