"""The archive that the project writes, made loadable by a Triton that has the Python backend and no GPU."""

from __future__ import annotations

import shutil
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema

__all__ = ["adapt", "adapted"]

MODEL = Path(__file__).parent / "python_backend" / "model.py"


def adapt(folder: Path, into: Path) -> None:
    """Copies an unpacked archive, with `adapted` configurations and a model.py beside each model.onnx."""
    shutil.copytree(folder, into, dirs_exist_ok=True)
    for config in into.glob("*/config.pbtxt"):
        config.write_text(adapted(config.read_text("utf-8")), "utf-8")
    for model in into.glob("*/*/model.onnx"):
        shutil.copy(MODEL, model.parent)


def adapted(config: str) -> str:
    """`config` for the Python backend on the CPU; all else, tensors, batching and warm-up, stays as it was written.

    What the schema does not know is left for Triton to refuse.
    """
    try:
        found = text_format.Parse(config, schema.ModelConfig())
    except text_format.ParseError:
        return config
    found.backend, found.platform = "python", ""
    found.ClearField("default_model_filename")
    for group in found.instance_group:
        group.kind = schema.ModelInstanceGroup.KIND_CPU
        group.ClearField("gpus")
    return str(text_format.MessageToString(found))
