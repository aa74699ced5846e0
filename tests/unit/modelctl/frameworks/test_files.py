"""Which file is what, whatever it is called."""

import bz2
import gzip
import io
import lzma
import pickle
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.unit.modelserve.graphs import scaled
from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks import files
from tools.modelctl.frameworks.files import recognise

PICKLE = pickle.dumps({"a": 1})


def shown(value: object) -> str:
    """Of a parameter in a test's name: what is compressed now has the time in it, and every worker must find the same tests."""
    return value if isinstance(value, str) else ""


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name in names:
            made.writestr(name, b"x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "adapter"),
    [
        ("a.onnx", scaled(2), "onnx_files"),
        ("a.bin", scaled(2), "onnx_files"),
        ("a.joblib", PICKLE, "scikit"),
        ("a.txt", PICKLE, "scikit"),
        ("a.pkl", b"(dp0\n.", "scikit"),
        ("a.gz", gzip.compress(PICKLE), "scikit"),
        ("a.z", zlib.compress(PICKLE), "scikit"),
        ("a.bz2", bz2.compress(PICKLE), "scikit"),
        ("a.xz", lzma.compress(PICKLE), "scikit"),
        ("a.lzma", lzma.compress(PICKLE, format=lzma.FORMAT_ALONE), "scikit"),
        ("a.pt", archive("a/data.pkl", "a/version"), "torch_nets"),
        ("a.pt", archive("a/data.pkl", "a/code/a.py", "a/constants.pkl"), "torch_nets"),
        ("a.pt2", archive("a/models/model.json", "a/archive_format"), "torch_nets"),
        ("a.keras", archive("config.json", "metadata.json", "model.weights.h5"), "keras_nets"),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(8), "keras_nets"),
        ("a.json", b'{"learner":{"attributes":{}}}', "boosting"),
        ("a.ubj", b"{L\0\0\0\0\0\0\0\x07learner{", "boosting"),
        ("a.txt", b"tree\nversion=v4\n", "boosting"),
    ],
    ids=shown,
)
def test_a_file_is_known_by_its_first_bytes(tmp_path: Path, name: str, content: bytes, adapter: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert recognise(tmp_path / name).adapter == adapter


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.onnx", b"", "an empty file"),
        ("a.onnx", b"version https://git-lfs.github.com/spec/v1\noid", "run `git lfs pull`"),
        ("a.pkl", b"\n<!DOCTYPE html><html>", "a web page"),
        ("a.onnx", b"\x18\0\0\0ORTM....", "ONNX Runtime's own format"),
        ("a.tflite", b"\x1c\0\0\0TFL3....", "TensorFlow Lite"),
        ("a.gguf", b"GGUF\3", "llama.cpp"),
        ("a.safetensors", (64).to_bytes(8, "little") + b'{"w":{}}', "safetensors"),
        ("a.npy", b"\x93NUMPY\1\0", "give it as --data"),
        ("a.npz", archive("x.npy"), "give them as --data"),
        ("a.pt", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "PyTorch before 1.6"),
        ("a.pt", archive("a/data.pkl")[:40], "cut short or damaged"),
        ("a.zip", archive("readme"), "without a model that is known here"),
        ("a.json", b'{"rows": []}', "of no kind that is known here"),
        ("a.csv", b"a,b\n1,2\n", "of no kind that is known here"),
        ("a.gz", gzip.compress(b"a,b\n1,2\n"), "of no kind that is known here"),
        ("a.gz", gzip.compress(PICKLE)[:4], "of no kind that is known here"),
    ],
    ids=shown,
)
def test_anything_else_is_said_to_be_what_it_looks_like(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BuildFailed) as refused:
        recognise(tmp_path / name)
    assert told in str(refused.value)
    assert name in str(refused.value)


@pytest.mark.parametrize(
    ("inside", "adapter"), [(["saved_model.pb", "variables"], "keras_nets"), (["a.onnx", "a.onnx.data"], "onnx_files")]
)
def test_a_folder_is_known_by_what_is_in_it(tmp_path: Path, inside: Sequence[str], adapter: str) -> None:
    for name in inside:
        (tmp_path / name).write_bytes(scaled(2))
    assert recognise(tmp_path).adapter == adapter


@pytest.mark.parametrize("inside", [[], ["a.onnx", "b.onnx"]])
def test_a_folder_of_nothing_or_several_is_refused(tmp_path: Path, inside: Sequence[str]) -> None:
    for name in inside:
        (tmp_path / name).write_bytes(scaled(2))
    with pytest.raises(BuildFailed, match="name the file itself"):
        recognise(tmp_path)


def test_what_is_not_there_is_said_not_to_be(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="is not there"):
        recognise(tmp_path / "a.onnx")


def test_a_pickle_is_warned_of_once_for_it_and_its_copies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in {"first.pkl": {"a": 1}, "copy.pkl": {"a": 1}, "second.pkl": {"b": 2}}.items():
        (tmp_path / name).write_bytes(pickle.dumps(content))
    files._WARNED.clear()
    for name in ("first.pkl", "first.pkl", "copy.pkl", "second.pkl"):
        files.warn(recognise(tmp_path / name))
    told = capsys.readouterr().err
    assert told.count("a pickle can run code") == 2
    assert "first.pkl" in told
    assert "second.pkl" in told
