"""Files that are compressed for their way to the function."""

import random
from pathlib import Path

import pytest
from backports import zstd

import tools.modelctl.loading.compressed as module
from tools.modelctl.loading.compressed import compressed


def test_what_shrinks_is_compressed_into_one_frame_that_says_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_expanding", lambda packed: 0.001)  # noqa: ARG005 - as it is called
    body = b"".join(number.to_bytes(4, "little") for number in range(400_000))
    (tmp_path / "model.onnx").write_bytes(body)
    packed = compressed(tmp_path / "model.onnx")
    assert packed == tmp_path / "model.onnx.zst"
    assert zstd.get_frame_info(packed.read_bytes()[:18]).decompressed_size == len(body)
    assert zstd.decompress(packed.read_bytes()) == body


def test_what_takes_longer_to_expand_than_it_saves_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_expanding", lambda packed: 10.0)  # noqa: ARG005 - as it is called
    (tmp_path / "model.onnx").write_bytes(bytes(1_500_000))
    assert compressed(tmp_path / "model.onnx") is None


def test_what_does_not_shrink_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(random.Random(0).randbytes(1_500_000))
    assert compressed(tmp_path / "model.onnx") is None
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
