"""What is measured: the function's image as it would be built, one sample model, and one request for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.config import MODELS, ModelConfig
from modelserve.registry import Registry
from modelserve.settings import PredictSettings
from tools.local import image
from tools.local.assembly import Assembly, ImageAsset
from tools.local.roots import TaskRoot
from tools.local.synth import CDK_OUT, layers, synthesize
from tools.loopback.errors import MeasureError
from tools.loopback.store import BUCKET, MemoryStore
from tools.modelctl.lifecycle import build, publish

__all__ = ["MODEL", "Subject"]

MODEL = "tumour"
"""30 numbers a row, a graph that runs in microseconds: whatever the function adds shows."""
_DOCKERFILE = "functions/predict/Dockerfile"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Everything that a measurement needs."""

    root: TaskRoot
    model: Path
    event: Mapping[str, Any]
    environ: Mapping[str, str]
    backend: str
    """What the image drives ONNX Runtime by, one of `modelserve.session.BACKENDS`."""

    @classmethod
    def prepare(cls, store: MemoryStore) -> Subject:
        """Synthesizes the app, trains the model and makes the image's task root where that was not done, and publishes the model."""
        layers()
        synthesize()
        built = build(ModelConfig.load(MODELS / MODEL))
        registry = Registry(store)
        version = publish(registry, built).version
        registry.promote(MODEL, version, alias=PredictSettings.model_alias, by="bench", reason="")
        asset = _predict_image()
        root, backend = image.build(asset, CDK_OUT.parent), asset.build_args["SESSION_BACKEND"]
        return cls(
            root=root,
            model=built.model,
            event=_event(built.example.read_text("utf-8")),
            environ={
                **root.environment,
                **_told(MODEL, backend),
                "AWS_ACCESS_KEY_ID": "local",
                "AWS_SECRET_ACCESS_KEY": "local",
                "AWS_ENDPOINT_URL_S3": store.endpoint,
                "AWS_REGION": "us-east-1",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
                "AWS_LAMBDA_FUNCTION_NAME": "bench",
                "LAMBDA_TASK_ROOT": str(root.folder),
                "_HANDLER": root.handler,
            },
            backend=backend,
        )

    def told(self, model: str, **settings: str) -> dict[str, str]:
        """What the stack of another model's function tells it beside what is in `environ`; `settings` are of `PredictSettings`."""
        return _told(model, self.backend, **settings)


def _told(model: str, backend: str, **settings: Any) -> dict[str, str]:
    return PredictSettings(model_name=model, model_bucket=BUCKET, session_backend=backend, **settings).to_env()


def _predict_image() -> ImageAsset:
    for asset in Assembly.load(CDK_OUT, "dev").images.values():
        if asset.dockerfile == _DOCKERFILE:
            return asset
    raise MeasureError(f"the synthesized app has no image with {_DOCKERFILE}; does models/ have a model?")


def _event(body: str) -> dict[str, Any]:
    """As API Gateway's REST API sends it."""
    document = json.loads(body)
    return {
        "httpMethod": "POST",
        "path": f"/v2/models/{MODEL}/infer",
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps({"id": "bench", "inputs": document["inputs"]}),
        "isBase64Encoded": False,
    }
