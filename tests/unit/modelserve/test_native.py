"""What only holds of ONNX Runtime's library driven through its C API: found and checked, no memory lost, none used that is gone."""

import gc
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import psutil
import pytest
from onnx import TensorProto, helper

from modelserve import _frames, _ort, native
from modelserve.errors import InvalidInput, ModelFailed, ModelNotReady, UnverifiedModel
from modelserve.manifest import File, Load
from modelserve.native import NativeSession
from modelserve.session import BACKENDS, Session, open_session, preload
from modelserve.tensors import Tensor, encode_bytes, to_list

from .graphs import graph, identity, lookup, scaled, value
from .graphs import session as opened

LARGE = 100_000
"""Elements of a tensor that is not copied."""


def session(model: bytes, *, refuse_nan: bool = False) -> Session:
    return opened(model, backend="native", refuse_nan=refuse_nan)


def floats(array: np.ndarray, name: str = "x") -> Tensor:
    return Tensor(name, "FP32", array.shape, array.astype("f4").tobytes())


def answer(model: Session, tensor: Tensor, output: str = "y") -> Tensor:
    (found,) = model.run([tensor], [output], seconds=20)
    return found


@pytest.fixture
def another_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bytes | None], None]:
    """Has the library looked for anew, and found with this content, or not at all."""

    def place(content: bytes | None) -> None:
        folder = tmp_path / "onnxruntime" / "capi"
        folder.mkdir(parents=True)
        if content is not None:
            (folder / "libonnxruntime.so.1.0.0").write_bytes(content)
        monkeypatch.setattr(_ort, "_API", [])
        monkeypatch.setattr(sys, "path", [str(tmp_path)])

    return place


def test_without_the_library_what_to_do_is_said(another_library):
    another_library(None)

    with pytest.raises(ModelNotReady, match=r"no folder of sys.path has .*; install onnxruntime, or set SESSION_BACKEND=binding"):
        session(identity())


def test_a_file_that_is_no_library_is_told(another_library):
    another_library(b"no library")

    with pytest.raises(ModelNotReady, match=r"can't be loaded: .*; install onnxruntime again, or set SESSION_BACKEND=binding"):
        session(identity())


def test_a_library_that_is_too_old_is_told_with_both_versions(monkeypatch, capfd):
    monkeypatch.setattr(_ort, "_API", [])
    monkeypatch.setattr(_ort, "_VERSION", 9999)

    with pytest.raises(ModelNotReady, match=rf"is of release {onnxruntime.__version__}; expected 1.9999 or newer; install that"):
        session(identity())


def test_what_the_first_session_makes_for_all_others_is_made_ahead(monkeypatch):
    made = onnx.load_from_string(native._IDENTITY)
    onnx.checker.check_model(made, full_check=True)
    assert [node.op_type for node in made.graph.node] == ["Identity"]

    preload("native")
    monkeypatch.setattr(native, "_IDENTITY", b"no graph")
    with pytest.raises(_ort.Failed, match="INVALID_PROTOBUF"):
        preload("native")


def test_neither_numpy_nor_the_binding_is_imported(tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(identity())
    code = f"""
import sys
from modelserve.session import open_session
open_session({str(file)!r}, name="sample", threads=1, backend="native").warm_up(seconds=20)
print([name for name in sys.modules if name in ("numpy", "onnxruntime")])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_large_answer_outlives_its_session_and_its_input():
    kept = []
    for turn in range(3):
        sent = np.full(LARGE, turn, "f4")
        kept.append(answer(session(identity("FP32", ("n",))), floats(sent)))
        kept.append(answer(session(scaled(2)), floats(sent[:99_999].reshape(-1, 3))))
    constant = helper.make_tensor("c", TensorProto.FLOAT, [LARGE], np.arange(LARGE, dtype="f4"))
    names = [value(name, "FP32", ("n",)) for name in ("x", "c")]
    kept.append(answer(session(graph([], names[:1], names, [constant])), floats(np.zeros(LARGE)), "c"))
    kept.append(answer(session(graph([], names[:1], names, [constant])), floats(np.full(LARGE, 7)), "x"))
    gc.collect()
    others = [bytes(400_000) for _ in range(50)]

    assert [set(to_list(found)) for found in kept[:6]] == [{factor * turn} for turn in range(3) for factor in (1.0, 2.0)]
    assert to_list(kept[6]) == list(range(LARGE))
    assert set(to_list(kept[7])) == {7.0}
    assert len(others) == 50


def test_a_large_answer_is_not_copied_and_can_not_be_written_to():
    found = memoryview(answer(session(scaled(2)), floats(np.ones((LARGE, 3)))).data)

    assert found.readonly
    assert found.cast("f")[-1] == 2.0
    assert not isinstance(found.obj, bytes)


@pytest.mark.parametrize(("datatype", "size"), [("FP16", 2), ("FP32", 4), ("FP64", 8), ("INT64", 8)])
def test_large_data_may_begin_at_any_byte_and_kernels_see_aligned_elements(datatype, size):
    model = session(identity(datatype, ("n",)))
    content = os.urandom(LARGE * size)

    for offset in range(size + 1):
        tensor = Tensor("x", datatype, (LARGE,), memoryview(bytes(offset) + content)[offset:])
        assert _frames._pinned(tensor, LARGE * size).address % size == 0
        assert bytes(memoryview(answer(model, tensor).data)) == content


@pytest.mark.parametrize("count", [3, LARGE])
def test_data_that_is_not_contiguous_is_taken_in_its_order(count):
    array = np.arange(2 * count, dtype="f4")[::2]

    assert to_list(answer(session(identity("FP32", ("n",))), Tensor("x", "FP32", (count,), memoryview(array)))) == array.tolist()


@pytest.mark.parametrize("shape", [(-1, -3), (2**62, 4), (2**64, 3), ("3",), (1.5, 2), None])
def test_a_shape_that_no_tensor_has_is_refused(shape):
    model = session(identity("FP32", ("n", "m")))
    for _ in range(2):
        with pytest.raises((ValueError, TypeError, ModelFailed)):
            answer(model, Tensor("x", "FP32", shape, bytes(12)))
        assert to_list(answer(model, floats(np.ones((1, 3))))) == [1.0] * 3


def test_a_datatype_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="input 'x' is COMPLEX; expected one of FP32, "):
        answer(session(identity()), Tensor("x", "COMPLEX", (1, 3), bytes(12)))


def test_more_choices_of_outputs_than_a_session_keeps_are_answered():
    names = [f"y{index}" for index in range(20)]
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in names]
    model = session(graph(nodes, [value("x", "FP32", (1, 3))], [value(name, "FP32", (1, 3)) for name in names]))

    for name in names * 2:
        assert to_list(answer(model, floats(np.ones((1, 3))), name)) == [1.0] * 3


def test_threads_share_a_session_and_each_gets_its_own_answers():
    model, wrong = session(scaled(2)), []

    def call(number: int) -> None:
        for turn in range(200):
            rows = 1 + (turn + number) % 3
            found = to_list(answer(model, floats(np.full((rows, 3), number))))
            if found != [2.0 * number] * 3 * rows:
                wrong.append((number, found))

    callers = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert wrong == []


def test_a_forked_process_answers_with_the_session_of_its_parent():
    model = session(scaled(2))
    answer(model, floats(np.ones((1, 3))))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        child = os.fork()
    if not child:
        os._exit(0 if to_list(answer(model, floats(np.ones((1, 3))))) == [2.0] * 3 else 1)

    assert os.waitpid(child, 0)[1] == 0
    assert to_list(answer(model, floats(np.ones((1, 3))))) == [2.0] * 3


_EXIT = """
import sys, threading, time
from array import array
from modelserve.session import open_session
from modelserve.tensors import Tensor
session = open_session({file!r}, name="sample", threads=2, backend="native")
tensor = Tensor("x", "FP32", (30_000, 3), array("f", [1.0] * 90_000))
kept = session.run([tensor], ["y"], seconds=20)
begun = threading.Event()
def call():
    while True:
        session.run([tensor], ["y"], seconds=20)
        begun.set()
threading.Thread(target=call, daemon=True).start()
begun.wait()
cycle = [session, kept]
cycle.append(cycle)
sys.modules["modelserve.kept"] = cycle
"""


def test_a_process_that_ends_amid_a_run_ends_well(tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(scaled(2))

    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", _EXIT.format(file=str(file))], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def growth(call: Callable[[], None], times: int) -> int:
    """By how many bytes this process grew over `times` calls, after some that fill what is kept."""
    for _ in range(times // 10):
        call()
    gc.collect()
    before = psutil.Process().memory_info().rss
    for _ in range(times):
        call()
    gc.collect()
    return psutil.Process().memory_info().rss - before


def every_kind_of_run() -> Callable[[], None]:
    """Small and large tensors, text, refusals by the graph and before it, in turn."""
    small, large, words, table = session(scaled(2)), session(scaled(2)), session(identity("BYTES", ("n",))), session(lookup())
    strict = session(identity("FP32", ("n",)), refuse_nan=True)
    rows = [floats(np.ones((count, 3))) for count in (1, 1, 2, 32)]
    image = floats(np.ones((2_000, 3)))
    text = Tensor("x", "BYTES", (8,), encode_bytes([b"word" * 10, b"a\0b"] * 4))

    def call() -> None:
        for tensor in rows:
            answer(small, tensor)
        answer(large, image)
        answer(words, text)
        for model, wrong, error in (
            (table, Tensor("x", "INT64", (1,), bytes([9] * 8)), ModelFailed),
            (words, Tensor("x", "BYTES", (1,), encode_bytes([b"\xff"])), InvalidInput),
            (strict, floats(np.array([np.nan])), InvalidInput),
            (small, Tensor("x", "FP32", (1, 3), bytes(11)), ValueError),
        ):
            with pytest.raises(error):
                answer(model, wrong)

    return call


def test_runs_leave_no_memory_behind():
    assert growth(every_kind_of_run(), 200) < 2 * 2**20


@pytest.mark.slow
def test_a_hundred_thousand_runs_leave_no_memory_behind():
    assert growth(every_kind_of_run(), 10_000) < 2 * 2**20


def test_sessions_that_are_dropped_leave_no_memory_behind():
    """Those that answered and those that were refused: each has a constant of 400 KB."""
    constant = helper.make_tensor("c", TensorProto.FLOAT, [LARGE], np.zeros(LARGE, "f4"))
    node = helper.make_node("Add", ["x", "c"], ["y"])
    right = graph([node], [value("x", "FP32", (LARGE,))], [value("y", "FP32", (LARGE,))], [constant])
    wrong = graph([node], [value("x", "FP32", (LARGE,))], [value("y", "INT64", (LARGE,))], [constant])

    def call() -> None:
        session(right).warm_up(seconds=20)
        with pytest.raises(UnverifiedModel):
            session(wrong)

    assert growth(call, 100) < 10 * 2**20


def weighed() -> bytes:
    """A product with weights large enough for a file of their own."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [64, 64], np.random.default_rng(0).random(64 * 64, "f4"))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Relu", ["z"], ["y"])]
    return graph(nodes, [value("x", "FP32", ("rows", 64))], [value("y", "FP32", ("rows", 64))], [weights])


def written(folder: Path, format_name: str) -> Path:
    """The graph of `weighed` in a load format, as ONNX Runtime itself writes it."""
    plain, made = folder / "model.onnx", folder / f"made.{'ort' if format_name == 'ort' else 'onnx'}"
    plain.write_bytes(weighed())
    if format_name == "onnx":
        return plain
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(made)
    if format_name == "ort":
        options.add_session_config_entry("session.save_model_format", "ORT")
    if format_name == "external":
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "made.data")
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    onnxruntime.InferenceSession(plain, options)
    return made


@pytest.mark.parametrize("prepack", [True, False])
@pytest.mark.parametrize("format_name", ["onnx", "optimized", "external", "ort"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_load_format_answers_the_same_after_its_files_are_gone(tmp_path, backend, format_name, prepack):
    sent = floats(np.random.default_rng(1).random((5, 64), "f4"))
    right = to_list(answer(session(weighed()), sent))
    file = written(tmp_path, format_name)
    load = Load(format=format_name, files=(File(path=file.name, size=1, sha256=""),), prepack=prepack)

    model = open_session(str(file), name="sample", threads=1, load=load, backend=backend)
    for entry in tmp_path.iterdir():
        entry.unlink()

    assert np.allclose(to_list(answer(model, sent)), right, rtol=1e-5)


def test_a_constant_of_a_mapped_file_outlives_its_session(tmp_path):
    plain, made = tmp_path / "model.onnx", tmp_path / "model.ort"
    constant = helper.make_tensor("c", TensorProto.FLOAT, [LARGE], np.arange(LARGE, dtype="f4"))
    names = [value(name, "FP32", ("n",)) for name in ("x", "y", "c")]
    plain.write_bytes(graph([helper.make_node("Neg", ["x"], ["y"])], names[:1], names[1:], [constant]))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(made)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(plain, options)
    load = Load(format="ort", files=())

    found = answer(NativeSession(str(made), name="sample", threads=1, load=load), floats(np.zeros(3)), "c")
    gc.collect()

    assert to_list(found) == list(range(LARGE))


def test_a_mapped_file_that_is_no_graph_is_refused(tmp_path):
    load = Load(format="ort", files=())
    for content in (b"", b"no graph", bytes(10_000)):
        (tmp_path / "model.ort").write_bytes(content)
        with pytest.raises(UnverifiedModel, match="expected one that this ONNX Runtime loads"):
            NativeSession(str(tmp_path / "model.ort"), name="sample", threads=1, load=load)


def test_a_constant_that_a_caller_could_replace_is_no_input():
    constant = helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    inputs = [value("x", "FP32", ("rows", 3)), value("w", "FP32", (3,))]
    model = session(graph([node], inputs, [value("y", "FP32", ("rows", 3))], [constant]))
    x, w = floats(np.ones((1, 3))), floats(np.zeros(3), "w")

    assert [spec.name for spec in model.inputs] == ["x"]
    with pytest.raises(ModelFailed, match="the input 'w' was given"):
        model.run([x, w], ["y"], seconds=20)
    assert to_list(answer(model, x)) == [1.0, 2.0, 3.0]
