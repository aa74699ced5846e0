"""The archive that the project writes, made loadable by a Triton that has the Python backend and no GPU."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

__all__ = ["adapt", "adapted"]

MODEL = Path(__file__).parent / "python_backend" / "model.py"
_ENGINE = re.compile(r'^\s*(?:backend|platform)\s*:\s*"[^"]*"', re.MULTILINE)
_FILE = re.compile(r'^\s*default_model_filename\s*:\s*"[^"]*"\n?', re.MULTILINE)
_GPUS = re.compile(r"\bgpus\s*:\s*(?:\[[^\]]*\]|\d+)")


def adapt(folder: Path, into: Path) -> None:
    """Copies an unpacked archive, with `adapted` configurations and a model.py beside each model.onnx."""
    shutil.copytree(folder, into, dirs_exist_ok=True)
    for config in into.glob("*/config.pbtxt"):
        config.write_text(adapted(config.read_text("utf-8")), "utf-8")
    for model in into.glob("*/*/model.onnx"):
        shutil.copy(MODEL, model.parent)


def adapted(config: str) -> str:
    """`config` for the Python backend on the CPU; all else, batching and tensors, stays as it is written.

    Raises `ValueError` unless it names one engine.
    """
    text, found = _ENGINE.subn('backend: "python"', config)
    if found != 1:
        raise ValueError(f"the configuration names {found} backends or platforms; expected one:\n{config}")
    return _GPUS.sub("", _FILE.sub("", text)).replace("KIND_GPU", "KIND_CPU")
