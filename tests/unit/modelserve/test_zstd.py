"""A file that came compressed is expanded to what its header says, and no further."""

from pathlib import Path

import pytest
from backports import zstd

from modelserve._zstd import expand
from modelserve.errors import StoreUnavailable, UnverifiedModel

BODY = bytes(range(256)) * 20_000  # 5 MB: several chunks


def expanded(folder: Path, packed: bytes) -> bytes:
    path = folder / "model.ort"
    (folder / "model.ort.zst").write_bytes(packed)
    expand(str(path))
    assert [file.name for file in folder.iterdir()] == ["model.ort"]
    return path.read_bytes()


@pytest.mark.parametrize("body", [BODY, b"x"], ids=len)
def test_a_file_is_what_was_compressed(tmp_path, body):
    assert expanded(tmp_path, zstd.compress(body)) == body


def unsized(body: bytes) -> bytes:
    compressor = zstd.ZstdCompressor()
    return compressor.compress(body) + compressor.flush()


@pytest.mark.parametrize(
    "packed",
    [b"", b"no zstd at all, whatever it is", zstd.compress(BODY)[:-1], zstd.compress(BODY)[:20], unsized(BODY)],
    ids=["empty", "other bytes", "cut", "only its header", "of no size"],
)
def test_what_is_no_frame_of_a_known_size_is_refused(tmp_path, packed):
    with pytest.raises(UnverifiedModel, match="expected one frame that says its size"):
        expanded(tmp_path, packed)


def test_a_full_disk_is_said_with_what_to_raise(tmp_path, monkeypatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(StoreUnavailable, match="raise ephemeral_storage"):
        expanded(tmp_path, zstd.compress(BODY))
