"""What a file or folder is, by its first bytes before its name, and which module of this room opens it."""

from __future__ import annotations

import bz2
import lzma
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tools.modelctl import console
from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks import Context, ModelFile

__all__ = ["FORMATS", "Kind", "adapt", "recognise", "warn"]

FORMATS = (
    "ONNX (.onnx), scikit-learn (.joblib, .pkl), PyTorch (weights with --module, TorchScript, .pt2), Keras (.keras, .h5, a SavedModel "
    "folder), XGBoost (.json, .ubj), LightGBM (.txt), or an MLflow model folder"
)
_HEAD = 4096
_PICKLE = "a pickle"


@dataclass(frozen=True)
class Kind:
    """A file as it is opened."""

    path: Path
    """Of an MLflow folder, what lies in it."""
    what: str
    """For a person."""
    adapter: str
    """The module of this room whose `load` opens it."""

    @property
    def is_pickle(self) -> bool:
        return self.what == _PICKLE


def adapt(file: ModelFile, context: Context) -> Any:
    """What `train` answered as a path. Raises `BuildFailed` for a file that isn't a model, or that can't become one."""
    from tools.modelctl.frameworks import child  # noqa: PLC0415 - imports the converters

    kind = recognise(context.folder / file.path)
    warn(kind)
    return child.adapted(replace(file, path=kind.path), kind.adapter, replace(context, module=file.module))


def warn(kind: Kind) -> None:
    """Before a pickle is opened; once for a file and its copies."""
    if not kind.is_pickle:
        return
    with kind.path.open("rb") as file:
        known = kind.path.stat().st_size, file.read(_HEAD)
    if known not in _WARNED:
        _WARNED.add(known)
        console.note(
            f"{kind.path.name} is a pickle, and a pickle can run code; it is opened in a process without network or credentials, and only "
            "classes on the allow-list"
        )


_WARNED: set[tuple[int, bytes]] = set()


def recognise(path: Path) -> Kind:
    """Opens nothing but the first bytes, or an archive's list of members. Raises `BuildFailed` naming what it looks like instead."""
    if path.is_dir():
        return _folder(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        raise BuildFailed(f"{path} is not there; expected a file or folder that holds a model") from None
    except OSError as error:
        raise BuildFailed(f"{path} can't be read: {error.strerror}; let it be read by you, then try again") from None
    if foreign := next((told for test, told in _FOREIGN if test(head)), None):
        raise BuildFailed(f"{path} looks like {foreign}. Expected {FORMATS}")
    found = next((kind for test, kind in _KINDS if test(head)), None)
    if found is None and head.startswith(b"PK\x03\x04"):
        found = _archive(path)
    if found is None:
        found = _by_suffix(path)
    return Kind(path, *found)


def _folder(path: Path) -> Kind:
    if (path / "MLmodel").is_file():
        from tools.modelctl.frameworks import mlflow_store  # noqa: PLC0415 - reads YAML

        inner = mlflow_store.flavor(path)
        if inner.resolve() == path.resolve() or not inner.resolve().is_relative_to(path.resolve()):
            raise BuildFailed(f"{path}/MLmodel names {inner}, which is not within that folder; don't trust it")
        return recognise(inner)
    if (path / "saved_model.pb").is_file():
        return Kind(path, "a SavedModel of TensorFlow", "keras_nets")
    graphs = sorted(path.glob("*.onnx"))
    if len(graphs) == 1:
        return recognise(graphs[0])
    raise BuildFailed(
        f"{path} is a folder with {'several ONNX files' if graphs else 'neither saved_model.pb nor MLmodel nor an ONNX file'} in it; "
        f"name the file itself. Expected {FORMATS}"
    )


def _archive(path: Path) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        raise BuildFailed(
            f"{path} begins as an archive (PyTorch's or Keras's) and is cut short or damaged; copy or save it again"
        ) from None
    inner = {name.partition("/")[2] for name in names}
    if {"config.json", "metadata.json"} <= set(names):
        return "a model of Keras", "keras_nets"
    if "data.pkl" in inner or any(name.startswith(("models/", "serialized_exported_program")) for name in (*inner, *names)):
        return "a file of PyTorch", "torch_nets"
    if names and all(name.endswith(".npy") for name in names):
        raise BuildFailed(f"{path} looks like arrays of numpy, which are rows and no model; give them as --data. Expected {FORMATS}")
    raise BuildFailed(f"{path} is a zip archive without a model that is known here; unpack it and name what is in it. Expected {FORMATS}")


def _by_suffix(path: Path) -> tuple[str, str]:
    """Formats whose first bytes may be anything."""
    found = {".onnx": ("an ONNX model", "onnx_files"), ".pkl": (_PICKLE, "scikit"), ".pickle": (_PICKLE, "scikit")}.get(path.suffix.lower())
    if found is None:
        raise BuildFailed(f"{path} is of no kind that is known here. Expected {FORMATS}")
    return found


def _begins(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(beginnings)


def _at(place: int, magic: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[place : place + len(magic)] == magic


def _is_text(*words: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.lstrip().lower().startswith(words)


def _is_pickle(head: bytes) -> bool:
    return head[:1] == b"\x80" and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}


def _is_packed_pickle(head: bytes) -> bool:
    """As joblib compresses."""
    if head.startswith(b"\x04\x22\x4d\x18"):  # LZ4, which the standard library doesn't read
        return True
    return any(_is_pickle(_unpacked(head, magic, make)) for magic, make in _PACKERS)


def _unpacked(head: bytes, magic: bytes, make: Callable[[], Any]) -> bytes:
    if not head.startswith(magic):
        return b""
    try:
        found: bytes = make().decompress(head, 16)
    except (OSError, ValueError, zlib.error, lzma.LZMAError):
        return b""
    return found


_PACKERS: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x78", zlib.decompressobj),
    (b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ", lzma.LZMADecompressor),
    (b"\x5d\x00", lzma.LZMADecompressor),
)
_FOREIGN: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda head: not head, "an empty file; copy or save it again"),
    (_begins(b"version https://git-lfs"), "a pointer of Git LFS, not the file itself; run `git lfs pull`"),
    (_is_text(b"<!doctype html", b"<html"), "a web page, as a download that needed a login leaves it; download the file itself"),
    (_is_text(b"<pmml", b"<?xml"), "XML; export the model to ONNX where it was trained"),
    (_begins(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."), "a file of PyTorch before 1.6; open it there and torch.save it again"),
    (_at(4, b"ORTM"), "ONNX Runtime's own format, which is made for one machine; bring the ONNX file that it was made from"),
    (_at(4, b"TFL3"), "TensorFlow Lite; bring the Keras model or SavedModel that it was made from"),
    (_begins(b"GGUF", b"GGML"), "a language model of llama.cpp, which has no ONNX form; bring the model that it was made from"),
    (_at(8, b'{"'), "safetensors, weights without their network; open them with it, and save torch.save(network.state_dict(), 'model.pt')"),
    (_begins(b"\x93NUMPY"), "an array of numpy, which is rows and no model; give it as --data"),
    (_begins(b"PAR1"), "Parquet, which is rows and no model; give it as --data"),
    (_begins(b"\x7fELF", b"MZ"), "a program; bring the model's own file"),
)
_KINDS: tuple[tuple[Callable[[bytes], bool], tuple[str, str]], ...] = (
    (_is_pickle, (_PICKLE, "scikit")),
    (_is_packed_pickle, (_PICKLE, "scikit")),
    (_begins(b"\x89HDF\r\n\x1a\n"), ("a model of Keras in HDF5", "keras_nets")),
    (_begins(b"tree\n"), ("a model of LightGBM", "boosting")),
    (lambda head: _is_text(b"{")(head) and b'"learner"' in head, ("a model of XGBoost", "boosting")),
    (lambda head: head.startswith(b"{L") and b"learner" in head, ("a model of XGBoost", "boosting")),
    (
        lambda head: len(head) > 2 and head[0] == 8 and 3 <= head[1] <= 20 and head[2:3] in {b"\x12", b"\x1a", b":", b"B"},
        ("an ONNX model", "onnx_files"),
    ),
)
