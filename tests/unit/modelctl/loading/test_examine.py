"""What a function opens in place of model.onnx, as other tools may have published it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from backports import zstd
from onnx import TensorProto, helper, numpy_helper

from models.config import FunctionConfig, ParityConfig
from modelserve import cpu
from modelserve.manifest import LOAD_SCHEMA, MODEL_FILE, File, Load, Manifest
from modelserve.record import replace
from modelserve.registry import Registry
from modelserve.versions import sha256
from tests.unit.modelctl.factories import draft
from tests.unit.modelctl.loading.test_prepare import config
from tools.modelctl.limits import Limits
from tools.modelctl.loading import examine as module
from tools.modelctl.loading.examine import Terms, examine_load, untried
from tools.modelctl.loading.ways import every_way, machine
from tools.modelctl.safety import examine_version
from tools.modelctl.trial import Refused, Trial, attempt

LIMITS = Limits.of_function(FunctionConfig(memory=512, timeout=20))
GRAPH, DATA = "model.mapped.onnx", "model.mapped.bin"


def dense(folder: Path, name: str = MODEL_FILE, *, seed: int = 0) -> Path:
    """A layer of 64 by 64 random weights."""
    weights = numpy_helper.from_array(np.random.default_rng(seed).random((64, 64), np.float32), "w")
    node = helper.make_node("MatMul", ["input", "w"], ["output"])
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, [None, 64]) for end in ("input", "output")]
    graph = helper.make_graph([node, helper.make_node("Neg", ["input"], ["unused"])], "dense", ends[:1], ends[1:], [weights])
    file = folder / name
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), file)
    return file


def outside(folder: Path, location: str) -> Path:
    """The same layer, its weights wherever `location` leads."""
    model = onnx.load_model(dense(folder, GRAPH))
    (weights,) = model.graph.initializer
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    (folder / GRAPH).write_bytes(model.SerializeToString())
    return folder / GRAPH


def stored(*files: Path) -> tuple[File, ...]:
    return tuple(File(path=file.name, size=file.stat().st_size, sha256=sha256(file)) for file in files)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """What the layer answers."""
    outcome = attempt(dense(tmp_path_factory.mktemp("plain")), None, LIMITS)
    assert isinstance(outcome, Trial)
    return outcome


def examined(folder: Path, load: Load, plain: Trial) -> list[str]:
    return [str(finding) for finding in examine_load(folder, load, Terms(plain, None, LIMITS, ParityConfig()))]


@pytest.mark.parametrize("name", ["external", "optimized, external, not packed", "ort"])
def test_what_a_build_makes_may_be_served(tmp_path: Path, name: str, plain: Trial) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    ways = {way.name: way for way in every_way(dense(tmp_path), config().loading, architecture=machine())}
    load = replace(ways[name].load, files=stored(*ways[name].make(scratch)))
    assert examined(scratch, load, plain) == []


def test_a_compressed_model_is_examined_as_it_arrives(tmp_path: Path, plain: Trial) -> None:
    packed = tmp_path / f"{MODEL_FILE}.zst"
    packed.write_bytes(zstd.compress(dense(tmp_path).read_bytes()))
    assert examined(tmp_path, Load(format="onnx", files=stored(packed), zstd=MODEL_FILE), plain) == []
    assert packed.exists()
    packed.write_bytes(zstd.compress(bytes(257 * 2**20), 1))
    load = Load(format="onnx", files=stored(packed), zstd=MODEL_FILE)
    small = Limits.of_function(FunctionConfig(memory=256))
    (finding,) = examine_load(tmp_path, load, Terms(plain, None, small, ParityConfig()))
    assert "is larger than 256 MB once it is decompressed" in str(finding)
    packed.write_bytes(b"no zstd")
    assert "can't be decompressed" in examined(tmp_path, Load(format="onnx", files=stored(packed), zstd=MODEL_FILE), plain)[0]


@pytest.mark.parametrize("location", ["../secret", "/proc/self/environ", "sub/../../secret", "", MODEL_FILE])
def test_weights_elsewhere_than_in_the_files_to_open_are_refused_before_anything_is_opened(
    tmp_path: Path, location: str, plain: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph could hand out what its function may read, such as its credentials; another file of the version is not there either."""
    monkeypatch.setattr(module, "attempt", None)
    dense(tmp_path)
    (tmp_path / DATA).write_bytes(bytes(64 * 64 * 4))
    load = Load(format="external", files=stored(outside(tmp_path, location), tmp_path / DATA))
    (finding,) = examined(tmp_path, load, plain)
    assert f"lies in {location!r}, which is no file of the version" in finding


def test_weights_that_a_file_does_not_hold_are_refused(tmp_path: Path, plain: Trial) -> None:
    (tmp_path / DATA).write_bytes(b"few")
    (finding,) = examined(tmp_path, Load(format="external", files=stored(outside(tmp_path, DATA), tmp_path / DATA)), plain)
    assert "[dimensions]" in finding or "[trial]" in finding


@pytest.mark.parametrize("kind", ["optimized", "ort"])
def test_what_answers_otherwise_than_the_model_is_refused(tmp_path: Path, kind: str) -> None:
    """The gates, parity and the report are about the model."""
    plain = asked(tmp_path)
    ways = {way.load.format: way for way in every_way(dense(tmp_path, seed=1), config().loading, architecture=machine())[::-1]}
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    load = replace(ways[kind].load, files=stored(*ways[kind].make(scratch)))
    (finding,) = [str(each) for each in examine_load(scratch, load, Terms(plain, example(tmp_path), LIMITS, ParityConfig()))]
    assert f"answers otherwise as {kind} than as published" in finding


def example(folder: Path) -> Path:
    file = folder / "example.json"
    file.write_text('{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 64], "data": [' + ",".join(["1"] * 64) + "]}]}")
    return file


def asked(folder: Path) -> Trial:
    """Of the layer to the example, since any layer answers zeros with zeros."""
    outcome = attempt(dense(folder), example(folder), LIMITS)
    assert isinstance(outcome, Trial)
    return outcome


def test_a_file_of_onnx_runtimes_own_format_is_opened_in_the_bounded_process_alone(tmp_path: Path, plain: Trial) -> None:
    file = tmp_path / "model.ort"
    file.write_bytes(b"\xff" * 4096)
    (finding,) = examined(tmp_path, Load(format="ort", files=stored(file)), plain)
    assert finding.endswith("[trial]")


def test_what_is_for_another_cpu_is_read_and_said_not_to_be_tried(tmp_path: Path, plain: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "features", lambda: frozenset(["here"]))
    monkeypatch.setattr(module, "attempt", None)
    load = Load(format="optimized", files=stored(dense(tmp_path, GRAPH)), cpu="vax")
    assert examined(tmp_path, load, plain) == []
    assert "is for vax, which this CPU is not" in untried(replace(draft(), load=load))
    assert not untried(replace(draft(), load=replace(load, cpu="here")))


def _others(document: Manifest) -> Manifest:
    assert document.load is not None
    other = replace(document.load.files[0], path="../other/model.onnx")
    return replace(document, load=replace(document.load, files=(other, *document.load.files[1:])))


def _format(document: Manifest) -> Manifest:
    assert document.load is not None
    return replace(document, load=replace(document.load, format="pickle"))


def _zstd(document: Manifest) -> Manifest:
    assert document.load is not None
    return replace(document, load=replace(document.load, zstd="../x"))


@pytest.mark.parametrize(("forge", "told"), [(_others, "none of the version's"), (_format, "of no kind"), (_zstd, "of no kind")])
def test_a_manifest_that_names_anything_else_to_open_is_refused(
    tmp_path: Path, forge: Callable[[Manifest], Manifest], told: str, plain: Trial
) -> None:
    files = stored(dense(tmp_path, GRAPH))
    manifest = forge(replace(draft(), files=files, load=Load(format="optimized", files=files), schema=LOAD_SCHEMA))
    (finding,) = module.examine(tmp_path, manifest, Terms(plain, None, LIMITS, ParityConfig()))
    assert told in str(finding)


@pytest.mark.parametrize(("location", "told"), [(DATA, None), ("../secret", "which is no file of the version")])
def test_a_promotion_examines_what_will_be_opened(registry: Registry, tmp_path: Path, location: str, told: str | None) -> None:
    model = dense(tmp_path)
    weights = np.random.default_rng(0).random((64, 64), np.float32)
    (tmp_path / DATA).write_bytes(weights.tobytes())
    files = {MODEL_FILE: model, GRAPH: outside(tmp_path, location), DATA: tmp_path / DATA}
    made = replace(draft(), load=Load(format="external", files=stored(files[GRAPH], files[DATA])), schema=LOAD_SCHEMA)
    version = registry.publish(made, files).version
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    findings = examine_version(registry, "fruit", version, scratch=scratch)
    assert [told in str(finding) for finding in findings if told] == ([True] if told else [])
    assert len(findings) == (1 if told else 0)
    assert not any(isinstance(finding, Refused) for finding in findings)
