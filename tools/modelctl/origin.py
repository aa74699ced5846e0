"""A version that another one is made from, and what its successor takes over from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import orjson

from models.config import ModelConfig
from modelserve.manifest import Lineage, Manifest
from tools.modelctl import convert, evaluate, lifecycle
from tools.modelctl.assess import Converted
from tools.modelctl.data import Split, tensors
from tools.modelctl.parity import Answers
from tools.modelctl.paths import REPORT_FILE
from tools.modelctl.source import Source

__all__ = ["Origin", "space"]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What is to be made smaller, or written anew."""

    manifest: Manifest
    model: Path
    """In a folder with the other files of that version."""
    version: str | None = None
    """None of a build that is not published."""

    @property
    def opset(self) -> int:
        return self.manifest.opset.get("", self.manifest.opset.get("ai.onnx", 0))

    @property
    def transform(self) -> str | None:
        """How it was made from its own parent."""
        return self.manifest.lineage.transform if self.manifest.lineage else None

    @property
    def held_out(self) -> str | None:
        """SHA-256 of the rows that it was judged by; None where its report doesn't say."""
        found = self._told("held_out_sha256")
        return None if found is None else str(found)

    def asked(self, rows: Split) -> Answers:
        """The held-out rows, as its graph takes them."""
        return tensors(rows.held_out_X, convert.datatype(onnx.load_model(self.model)))

    def converted(self, model: onnx.ModelProto, transform: str, expected: Answers, space: Any) -> Converted:
        """`model` was made from it by `transform`, and is judged by its answers `expected` to the held-out rows."""
        lineage = self.manifest.lineage
        return Converted(
            model=model,
            expected=expected,
            labels=self.manifest.labels,
            lineage=Lineage(
                framework=lineage.framework if lineage else "",
                source=lineage.source if lineage else "",
                parent=self.version,
                transform=transform,
            ),
            space=space,
            elsewhere=self._told("elsewhere") is True,
        )

    def _told(self, fact: str) -> Any:
        """What its report says of its rows; None where it doesn't."""
        try:
            return orjson.loads(self.model.with_name(REPORT_FILE).read_bytes())["evaluation"]["data"][fact]
        except (OSError, ValueError, TypeError, KeyError):
            return None


def space(config: ModelConfig, source: Source, rows: Split) -> Any:
    """The held-out rows where train.py's own pipeline sees clusters, which is fitted once more for it; None for another task."""
    return evaluate.space(lifecycle.fit(source, rows.X, rows.y), rows.held_out_X) if config.task == "clustering" else None
