"""Folds, each of which is to be another fit."""

from pathlib import Path

import numpy as np
import pytest

from models.config import ModelConfig
from tools.modelctl.crossval import cross_validate
from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks import ModelFile
from tools.modelctl.source import Source


@pytest.mark.parametrize("answer", [Path("model.joblib"), ModelFile(Path("weights.pt"), "net.py:Net")])
def test_a_file_that_was_trained_elsewhere_is_not_trained_again(tmp_path: Path, answer: Path | ModelFile) -> None:
    source = Source(tmp_path / "train.py", lambda: (np.zeros((9, 2)), np.arange(9.0)), lambda *_: answer)
    with pytest.raises(BuildFailed, match="x was trained elsewhere, so that each fold would score the same model"):
        cross_validate(ModelConfig(name="x", task="regression"), source, 3, lambda _: None)
