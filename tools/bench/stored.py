"""Model stores of a bench, as folders: signed, promoted, and with the request that each model is asked."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from models.config import MODELS, ModelConfig
from modelserve.manifest import LOAD_SCHEMA, MODEL_FILE, Manifest
from modelserve.record import replace
from modelserve.registry import Registry
from tools.bench.samples import Sample
from tools.loopback.authority import Signer
from tools.loopback.server import KEY_FILE
from tools.loopback.store import BUCKET, MemoryStore
from tools.modelctl.lifecycle import build, publish
from tools.modelctl.loading.prepare import fastest

__all__ = ["Stored", "sample", "trained"]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A model in a folder that `server` serves."""

    name: str
    folder: Path
    event: Mapping[str, Any]
    model: Path
    """The same file, for a plain load."""
    rows: Path | None = None
    """Of the same request, as NumPy saves them."""


def trained(name: str, folder: Path, event: Mapping[str, Any]) -> Stored:
    """A model of this repository, published as `modelctl publish` does."""
    built = build(ModelConfig.load(MODELS / name))
    store, signer = MemoryStore(), Signer()
    registry = Registry(store, signer=signer)
    registry.promote(name, publish(registry, built).version, alias="production", by="bench", reason="")
    _keep(store, signer, folder)
    return Stored(name=name, folder=folder, event=event, model=built.model)


def sample(found: Sample, folder: Path, *, plain: bool) -> Stored:
    """A large model with random weights, and one row in the binary format: JSON of an image would measure JSON.

    It is opened as `modelctl publish` would have it, or if `plain` as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model, rows = folder / MODEL_FILE, folder / "rows.npy"
    onnx.save(found.model, model)
    np.save(rows, found.rows[:1])
    store, signer = MemoryStore(), Signer()
    registry = Registry(store, signer=signer)
    draft = Manifest(
        name="large", version="", created="", task="regression", inputs=(), outputs=(), files=(), opset={"": 18}, ir=found.model.ir_version
    )
    config = ModelConfig.model_validate({"name": "large", "task": "custom", "function": {"ephemeral_storage": 2048}})
    load = None if plain else fastest(config, model, {found.model.graph.input[0].name: found.rows[:1]})[0]
    files = {MODEL_FILE: model}
    if load is not None:
        draft = replace(draft, load=load, schema=LOAD_SCHEMA)
        files |= {file.path: folder / file.path for file in load.files}
    version = registry.publish(draft, files).version
    registry.promote("large", version, alias="production", by="bench", reason="")
    _keep(store, signer, folder)
    return Stored(name="large", folder=folder, event=_event(found), model=model, rows=rows)


def _keep(store: MemoryStore, signer: Signer, folder: Path) -> None:
    store.save(folder / BUCKET)
    (folder / KEY_FILE).write_bytes(signer.answer())


def _event(found: Sample) -> dict[str, Any]:
    """As API Gateway's REST API sends binary data."""
    rows = np.ascontiguousarray(found.rows[:1])
    tensor = {
        "name": found.model.graph.input[0].name,
        "shape": list(rows.shape),
        "datatype": {"f": "FP32", "i": "INT64"}[rows.dtype.kind],
        "parameters": {"binary_data_size": rows.nbytes},
    }
    head = json.dumps({"id": "bench", "inputs": [tensor]}).encode()
    return {
        "httpMethod": "POST",
        "path": "/v2/models/large/infer",
        "headers": {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))},
        "body": base64.b64encode(head + rows.tobytes()).decode(),
        "isBase64Encoded": True,
    }
