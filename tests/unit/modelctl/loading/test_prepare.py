"""The ways to open a model, made and timed for real on small ones."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.config import ModelConfig
from modelserve import cpu
from modelserve.manifest import LOAD_SCHEMA, MODEL_FILE, Load, Manifest
from modelserve.session import open_session
from modelserve.tensors import Tensor
from tests.unit.modelctl.factories import draft
from tools.modelctl.errors import BuildFailed
from tools.modelctl.loading import prepare as module
from tools.modelctl.loading import ways
from tools.modelctl.loading.answers import Answer
from tools.modelctl.loading.choice import PLAIN, Figures
from tools.modelctl.loading.prepare import prepare
from tools.modelctl.loading.timing import Timed
from tools.modelctl.loading.ways import every_way, machine, needed

INPUTS = {"input": np.random.default_rng(1).random((6, 64), np.float32)}
LEAST = {"load_ms": 1.0, "first_ms": 1.0, "steady_us": 1.0}


def config(**loading: object) -> ModelConfig:
    return ModelConfig.model_validate({"name": "fruit", "task": "custom", "loading": loading})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of three dense layers, and of a convolution over what they answer."""
    random = np.random.default_rng(0)
    shapes = {"a": (64, 64), "b": (64, 64), "c": (64, 64), "k": (16, 1, 3, 3)}
    weights = [numpy_helper.from_array(random.standard_normal(shape, np.float32) / 8, name) for name, shape in shapes.items()]
    shape = numpy_helper.from_array(np.array([0, 1, 8, 8]), "image")
    nodes = [
        helper.make_node("MatMul", ["input", "a"], ["x"]),
        helper.make_node("MatMul", ["x", "b"], ["y"]),
        helper.make_node("MatMul", ["y", "c"], ["z"]),
        helper.make_node("Reshape", ["z", "image"], ["w"]),
        helper.make_node("Conv", ["w", "k"], ["v"]),
        helper.make_node("Relu", ["v"], ["output"]),
    ]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 64])]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [None, 16, 6, 6])]
    graph = helper.make_graph(nodes, "fruit", inputs, outputs, [*weights, shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (tmp_path / MODEL_FILE).write_bytes(model.SerializeToString())
    return tmp_path


def answer(file: Path, load: Load | None, backend: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    session = open_session(str(file), name="fruit", threads=1, load=load, backend=backend)
    (tensor,) = session.run([Tensor("input", "FP32", (6, 64), INPUTS["input"].tobytes())], ["output"], seconds=9)
    assert [spec.name for spec in session.inputs] == ["input"]
    return np.frombuffer(bytes(memoryview(tensor.data).cast("B")), np.float32).reshape(tensor.shape)


@pytest.mark.parametrize("backend", ["native", "binding"])
@pytest.mark.parametrize("where", ["any", "native"])
def test_every_way_answers_as_the_model_does(folder: Path, where: str, backend: str) -> None:
    found = every_way(folder / MODEL_FILE, config(cpu=where).loading, architecture=machine())
    scratch = folder / "scratch"
    scratch.mkdir()
    expected = answer(folder / MODEL_FILE, None, backend)
    for way in found:
        assert cpu.has(way.load.cpu)
        np.testing.assert_allclose(answer(way.make(scratch)[0], way.load, backend), expected, rtol=1e-4, atol=1e-5, err_msg=way.name)
    assert {way.load.format for way in found} == {"onnx", "external", "optimized", "ort"}


def test_a_graph_optimised_here_is_not_for_another_architecture(folder: Path) -> None:
    found = every_way(folder / MODEL_FILE, config().loading, architecture="vax")
    assert [(way.name, way.load.cpu) for way in found] == [(PLAIN, ""), ("external", "")]


def test_what_a_cpu_must_have_is_true_of_this_one_and_of_no_other_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    words = needed()
    assert cpu.has(words)
    for word in words.split():
        other = cpu.features() | {word[1:]} if word.startswith("!") else cpu.features() - {word}
        with monkeypatch.context() as patch:
            patch.setattr(cpu, "features", lambda other=other: other)
            assert not cpu.has(words)


@pytest.mark.parametrize("loading", [{}, {"format": "onnx"}], ids=["small", "plain ONNX"])
def test_a_small_model_or_one_that_is_to_stay_plain_is_not_timed(
    folder: Path, loading: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "timed", None)
    prepared = prepare(config(**loading), folder, draft(), INPUTS)
    assert prepared.load is None
    assert prepared.load_asked == (None if not loading else "format = onnx")
    assert [file.name for file in folder.iterdir()] == [MODEL_FILE]


def test_a_heavy_model_has_no_load_format(folder: Path) -> None:
    heavy = ModelConfig.model_validate({"name": "fruit", "task": "custom", "target": "gpu", "loading": {"format": "ort"}})
    assert prepare(heavy, folder, draft(), INPUTS) == draft()


def test_what_is_insisted_on_is_made_timed_and_left_beside_the_model(folder: Path) -> None:
    prepared = prepare(config(format="external", prepack=False), folder, draft(), INPUTS)
    assert prepared.load is not None
    assert prepared.load_figures is not None
    assert (prepared.load.format, prepared.load.prepack, prepared.load_asked) == ("external", False, "format = external, prepack = false")
    assert list(prepared.load_figures) == ["optimized, external, not packed", PLAIN]
    assert all(found[key] > 0 for found in prepared.load_figures.values() for key in LEAST)
    assert sorted(file.name for file in folder.iterdir()) == ["model.mapped.bin", "model.mapped.onnx", MODEL_FILE]
    assert [(file.path, file.size) for file in prepared.load.files] == [
        (name, (folder / name).stat().st_size) for name in ("model.mapped.onnx", "model.mapped.bin")
    ]
    found = answer(folder / prepared.load.files[0].path, prepared.load, "native")
    np.testing.assert_allclose(found, answer(folder / MODEL_FILE, None, "native"), rtol=1e-4, atol=1e-5)
    again = Manifest.from_json(prepared.to_json(), what="it")
    assert again == prepared
    assert again.schema == LOAD_SCHEMA


Asked = list[dict[str, str]]
TWOS = "AAAAQA=="
ONES = "AACAPw=="


def one(name: str, load_ms: float, *, runs: float = 1.0, data: str = ONES) -> Timed:
    """As the timing process tells it, with runs that took so many times what plain's did beside them."""
    answers: list[list[Answer]] = [[("output", "FP32", [1], data)]] * 4
    return Timed(name=name, load_ms=load_ms, first_ms=1.0, answers=answers, runs_us=[5.0 * runs], beside_us=[5.0])


def measured(monkeypatch: pytest.MonkeyPatch, *turns: list[Timed]) -> list[list[str]]:
    """What is timed then, turn by turn; the last goes on for ever."""
    asked: list[list[str]] = []

    def timed(subjects: Asked, requests: list[Path], *, threads: int, pairs: int) -> list[Timed]:
        assert (threads, pairs > 1) == (1, True)
        names = [subject["name"] for subject in subjects]
        asked.append(names)
        some = turns[min(len(asked), len(turns)) - 1]
        return [{**each, "answers": each["answers"][: len(requests)]} for each in some if each["name"] in names]

    monkeypatch.setattr(module, "timed", timed)
    monkeypatch.setattr(module, "SMALL", 1)
    return asked


@pytest.mark.parametrize(("size", "left"), [(256, {"onnx", "external", "optimized"}), (257, {"onnx", "optimized"})])
def test_what_stays_in_tmp_needs_room_for_the_next_version_beside_it(folder: Path, size: int, left: set[str]) -> None:
    """Of 512 MB, as a function has unless model.toml says otherwise."""
    file, told = folder / "mapped", list[str]()
    with file.open("wb") as sparse:
        sparse.truncate(size * 2**20)
    formats = ("onnx", "external", "optimized")
    made = {name: (ways.Way(name, Load(format=name, files=()), lambda _: ()), (file,)) for name in formats}

    assert set(module._fitting(made, config(), told.append)) == left
    assert [line.partition(";")[2] for line in told] == (
        [] if size == 256 else [" ephemeral_storage = 514 in [function] of model.toml has room for it, and for the next version beside it"]
    )


def test_what_is_insisted_on_without_room_names_the_setting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_mapped_mebibytes", lambda way, files: 300)  # noqa: ARG005 - as it is called

    with pytest.raises(BuildFailed, match=r"fruit stays in /tmp while it is loaded.*ephemeral_storage = 600 in \[function\]"):
        prepare(config(format="ort"), folder, draft("fruit"), INPUTS)


def test_a_way_that_answers_otherwise_is_not_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast it is; nor one that ended its process."""
    measured(monkeypatch, [one(PLAIN, 100.0), one("external", 50.0), one("ort", 1.0, data=TWOS)])
    prepared = prepare(config(), folder, draft(), INPUTS)
    assert prepared.load is not None
    assert prepared.load_figures is not None
    assert list(prepared.load_figures) == ["external", PLAIN]


def test_what_is_no_faster_is_opened_as_it_is_and_the_manifest_says_what_was_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, [one(PLAIN, 100.0), one("external", 99.0), one("ort", 10.0, runs=1.3)])
    prepared = prepare(config(), folder, draft(), INPUTS)
    assert (prepared.load, prepared.schema) == (None, LOAD_SCHEMA)
    assert prepared.load_figures is not None
    assert list(prepared.load_figures) == [PLAIN, "external", "ort"]
    assert [file.name for file in folder.iterdir()] == [MODEL_FILE]
    assert Manifest.from_json(prepared.to_json(), what="it") == prepared


def test_the_best_take_turns_until_the_choice_is_clear(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = one("optimized", 90.0)
    doubtful = [one(PLAIN, 100.0), one("external", 50.0), one("ort", 20.0, runs=1.085), slow, one("ort, not packed", 2.0, runs=1.3)]
    clear = [one(PLAIN, 100.0), one("external", 50.0), one("ort", 20.0, runs=1.02), slow]
    asked = measured(monkeypatch, doubtful, doubtful, doubtful, clear)
    prepared = prepare(config(), folder, draft(), INPUTS)
    assert len(asked[0]) == len(every_way(folder / MODEL_FILE, config().loading, architecture=machine()))
    assert asked[1:] == [[PLAIN, "ort", "external", "optimized"]] * 5  # three turns of either kind then
    assert prepared.load_figures is not None
    assert next(iter(prepared.load_figures)) == "ort"


def test_no_turn_begins_when_the_time_is_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = measured(monkeypatch, [one(PLAIN, 100.0), one("external", 50.0), one("ort", 20.0, runs=1.09)])
    monkeypatch.setattr(module, "_SECONDS", 0.0)
    prepare(config(), folder, draft(), INPUTS)
    assert len(asked) == 1


def test_without_a_library_to_time_it_with_a_model_is_opened_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, [])
    assert prepare(config(), folder, draft(), INPUTS) == draft()


def test_figures_are_plains_times_the_median_of_what_was_measured_in_the_same_turn() -> None:
    """Another turn may be on a busier machine."""
    quiet, busy, odd = (
        {each["name"]: each for each in some}
        for some in (
            [one(PLAIN, 100.0), one("ort", 10.0, runs=1.1)],
            [one(PLAIN, 200.0), one("ort", 20.0, runs=1.2)],
            [one(PLAIN, 300.0), one("ort", 90.0, runs=1.2)],
        )
    )
    assert module._figures([quiet, busy, odd]) == {PLAIN: Figures(200.0, 1.0, 5.0), "ort": Figures(20.0, 1.0, 6.0)}


def test_what_loses_least_by_it_is_not_packed() -> None:
    """Weights with many rows to a column, as the product sees them, from all over the graph."""
    shapes = {"wide 0": (4, 16), "wide 1": (4, 16), "tall 0": (16, 4), "turned": (4, 16), "tall 1": (16, 4), "table": (64, 4)}
    nodes = [helper.make_node("MatMul", ["x", name], [f"y {name}"]) for name in shapes if name not in {"table", "turned"}]
    nodes.append(helper.make_node("Gemm", ["x", "turned"], ["y"], transB=1))
    nodes.append(helper.make_node("Gather", ["table", "i"], ["z"]))
    weights = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "g", [], [], weights)
    names = [weight.name for weight in ways._unpacked(graph)]
    assert 0 < len(names) <= ways._UNPACKED * 5
    assert set(names) < {"tall 0", "turned", "tall 1"}
