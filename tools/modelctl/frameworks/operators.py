"""Operators of TensorFlow and PyTorch that reach files, which Python doesn't see: a network that has one is refused before it is loaded.

The kernel holds them to the process's own folder where it can (see sandbox). What this finds is named, and found on every system.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks import extra

__all__ = ["check_saved_model", "check_torch"]

_STORED = re.compile(r"(Save|Restore)(V2|Slices)?|MergeV2Checkpoints")
"""What every SavedModel has for its own variables, and may use for nothing else."""
_FILES = re.compile(
    r"ReadFile|WriteFile|MatchingFiles|(Eager)?PyFunc(Stateless)?|(WholeFile|TextLine|FixedLengthRecord|TFRecord|LMDB)Reader(V2)?|"
    r"\w*(TextLine|FixedLengthRecord|TFRecord|CSV|Sql|LMDB|Load|Save|Cache|Snapshot)Dataset(V\d)?|PrintV2|Debug\w+|"
    r"(Create|Write|Import)\w*(Summary|Event)\w*"
)
_TORCH = re.compile(rb"\b(?:torch|ops\.\w+|aten|prim)(?:\.|::)(from_file|save)\b")
_CODE = re.compile(r"(.*/)?code/.*\.py|.*\.json")
_MOST_BYTES = 2**28


def check_saved_model(folder: Path) -> None:
    """Raises `BuildFailed` for a graph that reads or writes a file other than its own variables."""
    extra("keras", "tensorflow")
    proto = extra("keras", "tensorflow.core.protobuf.saved_model_pb2")
    saved = proto.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    for graph in saved.meta_graphs:
        if found := next(_reaching(graph), None):
            raise _refused(folder, found)


def _reaching(graph: Any) -> Iterator[str]:
    own = _own(graph)
    functions = graph.graph_def.library.function
    for name, nodes in (("", graph.graph_def.node), *((each.signature.name, each.node_def) for each in functions)):
        for node in nodes:
            if _FILES.fullmatch(node.op) or (_STORED.fullmatch(node.op) and name not in own):
                yield str(node.op)


def _own(graph: Any) -> set[str]:
    """Functions that the graph's saver calls, and nobody else does."""
    saver = graph.saver_def
    savers = {saver.save_tensor_name.partition(":")[0], saver.restore_op_name}
    nodes = graph.graph_def.node
    inner = [node for each in graph.graph_def.library.function for node in each.node_def]
    others = {*_called(inner), *_called(node for node in nodes if node.name not in savers), *graph.object_graph_def.concrete_functions}
    return set(_called(node for node in nodes if node.name in savers)) - others


def _called(nodes: Iterable[Any]) -> Iterator[str]:
    for node in nodes:
        for value in node.attr.values():
            yield from (each.name for each in (value.func, *value.list.func) if each.name)


def check_torch(file: Path) -> None:
    """Raises `BuildFailed` for a script or program, in an archive, that reads or writes a file."""
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if not _CODE.fullmatch(member.filename):
                continue
            if member.file_size > _MOST_BYTES:
                raise BuildFailed(f"{file.name} has {member.file_size:,} bytes of code, which no network needs; don't trust the file")
            if found := _TORCH.search(archive.read(member)):
                raise _refused(file, found[1].decode())


def _refused(path: Path, operator: str) -> BuildFailed:
    return BuildFailed(
        f"{path.name} has the operator {operator:.100}, which reaches files as the network runs, and was not opened further; no graph that "
        "is served can, so don't trust the file, or export the network without it"
    )
