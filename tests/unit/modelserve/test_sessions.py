"""ONNX Runtime behind buffers, driven in either way; what one of them answers the other answers bit for bit."""

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from modelserve import binding, native
from modelserve.errors import DeadlineExceeded, InsufficientMemory, InvalidInput, ModelFailed, ServeError, UnverifiedModel
from modelserve.manifest import TensorSpec
from modelserve.session import BACKENDS, Session, open_session
from modelserve.tensors import DATATYPES, Tensor, encode_bytes, iter_bytes, to_list

from .graphs import ELEMENTS, endless, filled, folded, graph, identity, identity_session, lookup, non_zero, pair, picky, scaled, value
from .graphs import session as opened
from .strategies import arrays, shapes, tensors


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def session(backend: str) -> Callable[..., Session]:
    """Opens a graph with the backend of this test."""
    return partial(opened, backend=backend)


@pytest.fixture
def a_gigabyte_left() -> Iterator[None]:
    """What a function has, on a machine that has more."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    used = 1024 * int(Path("/proc/self/status").read_text().partition("VmData:")[2].split()[0])
    resource.setrlimit(resource.RLIMIT_DATA, (used + 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


def ran(model: Session, *inputs: Tensor, outputs=("y",), seconds: float = 20) -> list[Tensor]:
    return model.run(list(inputs), list(outputs), seconds=seconds)


def numbers(values, name="x", datatype="FP32", dtype="f4") -> Tensor:
    array = np.array(values, dtype)
    return Tensor(name, datatype, array.shape, array.tobytes())


@given(sent=tensors(binary=True))
def test_every_datatype_comes_back_bit_by_bit(backend: str, sent):
    datatype, array = sent
    data = encode_bytes(list(array.flat)) if datatype == "BYTES" else array.tobytes()

    (answer,) = ran(identity_session(datatype, array.ndim, backend), Tensor("x", datatype, array.shape, data))

    assert (answer.datatype, tuple(answer.shape)) == (datatype, array.shape)
    assert bytes(memoryview(answer.data)) == data


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_the_signature_is_the_graphs(session, datatype):
    model = session(identity(datatype, ("rows", 3)))

    assert model.inputs == (TensorSpec(name="x", datatype=datatype, shape=(-1, 3)),)
    assert model.outputs == (TensorSpec(name="y", datatype=datatype, shape=(-1, 3)),)


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_every_datatype_warms_up(session, datatype):
    session(identity(datatype, ("rows", 3))).warm_up(seconds=20)


def test_a_graph_that_refuses_made_text_is_warm_all_the_same(session):
    model = session(picky())
    with pytest.raises(ModelFailed, match="Unknown Category"):
        ran(model, Tensor("x", "BYTES", (1,), encode_bytes([b""])))

    model.warm_up(seconds=20)

    (answer,) = ran(model, Tensor("x", "BYTES", (1,), encode_bytes([b"known"])))
    assert to_list(answer) == [1.0]


@pytest.mark.parametrize("offset", range(5))
def test_data_may_begin_at_any_byte(session, offset):
    """It begins where the JSON before it ends."""
    values = np.arange(96, dtype="f4").reshape(32, 3)
    view = memoryview(bytes(offset) + values.tobytes())[offset:]

    (answer,) = ran(session(scaled(2)), Tensor("x", "FP32", (32, 3), view))

    assert bytes(memoryview(answer.data)) == (values * 2).tobytes()


def test_only_the_outputs_asked_for_are_given_in_that_order(session):
    a, b = numbers([[1, 2]], "a"), numbers([[3, 4]], "b")

    assert [answer.name for answer in ran(session(pair()), b, a, outputs=["difference", "total"])] == ["difference", "total"]
    assert [answer.name for answer in ran(session(pair()), a, b, outputs=["total"])] == ["total"]


def test_text_of_any_kind_passes(backend):
    elements = [b"a\0b", b"", "é ☃ \U0001f600".encode(), b"x" * 10_000]

    (answer,) = ran(identity_session("BYTES", 1, backend), Tensor("x", "BYTES", (4,), encode_bytes(elements)))

    assert list(iter_bytes(answer)) == elements


def test_an_endless_run_is_ended_at_its_deadline_and_the_next_one_answers(session):
    model = session(endless())
    go, stop = numbers([1], datatype="INT64", dtype="i8"), numbers([0], datatype="INT64", dtype="i8")

    for _ in range(2):
        with pytest.raises(DeadlineExceeded, match=r"did not answer within 0.05 s; send fewer rows, or raise `timeout`"):
            ran(model, go, seconds=0.05)
        assert bytes(memoryview(ran(model, stop)[0].data)) == bytes(8)


def test_a_deadline_that_has_passed_ends_a_run_too(session):
    with pytest.raises(DeadlineExceeded):
        ran(session(endless()), numbers([1], datatype="INT64", dtype="i8"), seconds=-1)


def test_many_runs_leave_no_run_and_no_further_thread_to_the_watchdog(session, backend):
    model = session(identity())
    ran(model, numbers([[1, 2, 3]]))
    before = threading.active_count()

    for _ in range(500):
        ran(model, numbers([[1, 2, 3]]))
    with pytest.raises(ModelFailed):
        ran(session(lookup()), numbers([9], datatype="INT64", dtype="i8"))

    assert threading.active_count() == before
    assert vars(native if backend == "native" else binding)["_WATCHDOG"]._runs == {}


def test_what_the_graph_refuses_is_said_without_paths_and_not_logged(session, capfd: pytest.CaptureFixture[str]):
    """ONNX Runtime's own error lines would carry elements of the input."""
    with pytest.raises(ModelFailed) as raised:
        ran(session(lookup()), numbers([987654321], datatype="INT64", dtype="i8"))

    assert "indices element out of data bounds, idx=987654321" in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_memory_that_can_not_be_had_is_an_error_of_its_own_and_the_next_run_answers(session):
    model = session(filled())
    few, many = numbers([3], datatype="INT64", dtype="i8"), numbers([10**15], datatype="INT64", dtype="i8")

    for _ in range(2):
        with pytest.raises(
            InsufficientMemory, match=r"more memory for this input than its function has; send fewer rows, or raise `memory`"
        ):
            ran(model, many)
        assert to_list(ran(model, few)[0]) == [0.0] * 3


def test_memory_that_a_run_has_taken_is_given_back(session):
    """An arena would keep it for runs to come; other models and Python itself need it."""
    model = session(filled())
    ran(model, numbers([3], datatype="INT64", dtype="i8"))
    before = psutil.Process().memory_info().rss

    ran(model, numbers([50_000_000], datatype="INT64", dtype="i8"))

    assert psutil.Process().memory_info().rss < before + 50_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to its memory")
def test_a_graph_that_asks_for_too_much_memory_as_it_loads_is_refused(session, a_gigabyte_left: None):
    """ONNX Runtime computes what is constant when it loads a graph: here, twice 800 MB of zeros."""
    with pytest.raises(InsufficientMemory, match=r"more memory to load than its function has; .* raise `memory`"):
        session(folded(200_000_000))

    session(folded(10)).warm_up(seconds=20)


@pytest.mark.parametrize("content", [b"", b"no graph", identity()[:-20]])
def test_bytes_that_are_no_graph_are_refused_without_paths(session, content):
    with pytest.raises(UnverifiedModel) as raised:
        session(content)

    assert "one that this ONNX Runtime loads; publish the model again" in str(raised.value)
    assert "/" not in str(raised.value).replace("ai.onnx/", "")


def test_an_output_that_is_no_tensor_is_refused_with_what_to_convert_by(session):
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    output = helper.make_value_info(
        "y",
        helper.make_sequence_type_proto(
            helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        ),
    )
    made = helper.make_graph([node], "test", [value("x", "FP32", ("rows", 3))], [output])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]

    with pytest.raises(UnverifiedModel, match="convert with zipmap=False"):
        session(helper.make_model(made, opset_imports=opsets, ir_version=10).SerializeToString())


@pytest.mark.parametrize(("datatype", "dtype"), [("FP16", "f2"), ("BF16", ml_dtypes.bfloat16), ("FP32", "f4"), ("FP64", "f8")])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_model_may_refuse_what_is_not_finite(session, datatype, dtype, wrong):
    model = session(identity(datatype, ("n",)), refuse_nan=True)

    with pytest.raises(InvalidInput, match="input 'x' holds NaN or infinity, which this model refuses; send finite numbers"):
        ran(model, numbers([1, wrong], datatype=datatype, dtype=dtype))
    assert ran(model, numbers([1, 2], datatype=datatype, dtype=dtype))


def test_a_model_that_refuses_nan_takes_everything_else(session):
    for datatype in ("BF16", "INT64", "BYTES", "BOOL"):
        session(identity(datatype), refuse_nan=True).warm_up(seconds=20)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_those_asked_for_and_do_not_spin(backend, threads, tmp_path):
    """Each of them but the one that calls is the process's own, and takes no time while nothing runs."""
    file = tmp_path / "model.onnx"
    file.write_bytes(scaled(2))
    code = f"""
import os, time
from modelserve.session import open_session
session = open_session({str(file)!r}, name="sample", threads={threads}, backend={backend!r})
session.warm_up(seconds=20)
print(len(os.listdir("/proc/self/task")))
before = time.process_time()
time.sleep(0.3)
print(time.process_time() - before < 0.1)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    )

    assert done.stdout.split() == [str(threads + 1), "True"]  # the watchdog is one more


def test_a_backend_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="there is no session backend 'other'; expected one of native, binding"):
        open_session("model.onnx", name="sample", threads=1, backend="other")


def test_an_answer_stays_as_it_was_when_the_next_one_is_made(session):
    model = session(scaled(2))
    answers = [ran(model, numbers([[turn, 0, 0]])) for turn in range(5)]

    assert [to_list(answer) for (answer,) in answers] == [[2.0 * turn, 0.0, 0.0] for turn in range(5)]


@pytest.mark.parametrize("counts", [(1, 1, 1, 3, 3, 3, 0, 0, 4, 2), (0, 0, 0, 4, 4, 4, 0)])
def test_a_graph_whose_shapes_depend_on_its_data_may_give_another_at_each_run(session, counts):
    model = session(non_zero())

    for count in counts:
        (answer,) = ran(model, numbers([1] * count + [0] * (4 - count)))
        assert (tuple(answer.shape), to_list(answer)) == ((1, count), list(range(count)))


def test_an_input_may_be_an_output_and_so_may_a_constant(session):
    """Neither is made by a node, so that ONNX Runtime has no memory of its own for them; large ones are not copied by it."""
    for size in (2, 100_000):
        constant = helper.make_tensor("c", TensorProto.FLOAT, [size], np.arange(size, dtype="f4"))
        node = helper.make_node("Neg", ["x"], ["y"])
        names = [value(name, "FP32", ("n",)) for name in ("x", "y", "c")]
        model = session(graph([node], names[:1], names, [constant]))

        for turn in range(3):
            sent = np.full(size, turn, "f4")
            answers = ran(model, numbers(sent), outputs=["x", "y", "c"])
            assert [to_list(answer) for answer in answers] == [sent.tolist(), (-sent).tolist(), list(range(size))]


def test_either_branch_of_a_graph_answers_whatever_the_runs_before_took(session):
    branches = {
        f"{which}_branch": helper.make_graph(
            [helper.make_node(operator, ["x"], [f"{which}_y"])], which, [], [value(f"{which}_y", "FP32", (3,))]
        )
        for which, operator in (("then", "Neg"), ("else", "Identity"))
    }
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["sign"], to=TensorProto.BOOL),
        helper.make_node("If", ["sign"], ["y"], **branches),
    ]
    model = session(graph(nodes, [value("x", "FP32", (3,))], [value("y", "FP32", (3,))]))

    for first in (1.0, 2.0, 3.0, -5.0, -5.0, 4.0, -5.0):
        assert to_list(ran(model, numbers([first, 2, 3]))[0]) == ([first, 2.0, 3.0] if first == -5.0 else [-first, -2.0, -3.0])


@pytest.mark.parametrize("data", [bytes(8), bytes(16), bytes(13), None, 12, "text", [1.0, 2.0, 3.0]])
def test_data_that_is_not_as_large_as_its_shape_is_refused_and_the_next_run_answers(session, data):
    model = session(scaled(2))
    for _ in range(3):
        with pytest.raises((ValueError, TypeError)):
            ran(model, Tensor("x", "FP32", (1, 3), data))
        assert to_list(ran(model, numbers([[1, 2, 3]]))[0]) == [2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([], ["total"]),
        ([numbers([[1, 2]], "a")], ["total"]),
        ([numbers([[1, 2]], "a"), numbers([[1, 2]], "a")], ["total"]),
        ([numbers([[1, 2]], "a"), numbers([[1, 2]], "b"), numbers([[1, 2]], "c")], ["total"]),
        ([numbers([[1, 2]], "a"), numbers([[1, 2]], "c")], ["total"]),
        ([numbers([[1, 2]], "a"), numbers([[1, 2]], "b\0")], ["total"]),
        ([numbers([[1, 2]], "a"), numbers([[1, 2]], "b", "FP64", "f8")], ["total"]),
        ([numbers([[1, 2]], "a"), numbers([1, 2], "b")], ["total"]),
        ([numbers([[1, 2]], "a"), numbers([[1, 2, 3]], "b")], ["total"]),
        ([numbers([[1, 2]], "a"), numbers([[1, 2]], "b")], ["other"]),
        ([numbers([[1, 2]], "a"), numbers([[1, 2]], "b")], ["total\0"]),
        ([numbers([[1, 2]], "a"), Tensor("b", "BYTES", (1, 2), encode_bytes([b"1", b"2"]))], ["total"]),
    ],
)
def test_what_does_not_fit_the_signature_is_refused_and_the_next_run_answers(session, inputs, outputs):
    model = session(pair())
    for _ in range(3):
        with pytest.raises(ModelFailed):
            ran(model, *inputs, outputs=outputs)
        assert to_list(ran(model, numbers([[1, 2]], "a"), numbers([[3, 4]], "b"), outputs=["total"])[0]) == [4.0, 6.0]


def test_an_output_may_be_asked_for_twice(session):
    model = session(scaled(2))

    for number in range(4):  # in later runs as in the first
        first, second = ran(model, numbers([[number] * 3]), outputs=["y", "y"])

        assert to_list(first) == to_list(second) == [2.0 * number] * 3


_OPERATORS = {
    "Identity": 1,
    "Neg": 1,
    "Shape": 1,
    "NonZero": 1,
    "Flatten": 1,
    "Transpose": 1,
    "IsNaN": 1,
    "Unique": 1,
    "Softmax": 1,
    "Add": 2,
    "Equal": 2,
    "Less": 2,
    "Mod": 2,
    "StringConcat": 2,
    "Concat": 2,
}
"""And their inputs, which are all `x`."""
_GIVEN = {"Shape": ["INT64"], "NonZero": ["INT64"], "IsNaN": ["BOOL"], "Equal": ["BOOL"], "Less": ["BOOL"]}


@cache
def pair_of(operator: str, datatype: str, rank: int) -> list[Session | tuple[type, str]]:
    """A graph in both backends, or why it is refused."""
    attributes: dict[str, Any] = {"axis": 0} if operator == "Concat" else {}
    node = helper.make_node(operator, ["x"] * _OPERATORS[operator], ["y"], **attributes)
    given = ELEMENTS[_GIVEN.get(operator, [datatype])[0]]
    made = graph(
        [node], [value("x", datatype, tuple(f"d{axis}" for axis in range(rank)))], [helper.make_tensor_value_info("y", given, None)]
    )
    return [outcome(opened, made, backend=backend) for backend in BACKENDS]


def outcome(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What a call answers, or raises on purpose."""
    try:
        return call(*arguments, **named)
    except ServeError as error:
        return type(error), str(error)


def plain(tensors: Any) -> Any:
    """Answers as bytes; a failure as it is."""
    if isinstance(tensors, tuple):
        return tensors
    return [(tensor.name, tensor.datatype, tuple(tensor.shape), bytes(memoryview(tensor.data).cast("B"))) for tensor in tensors]


@given(data=st.data())
def test_both_backends_answer_the_same_bits_or_fail_in_the_same_words(data):
    operator, datatype = data.draw(st.sampled_from(sorted(_OPERATORS))), data.draw(st.sampled_from(sorted(DATATYPES)))
    shape = data.draw(shapes)
    graphs = pair_of(operator, datatype, len(shape))
    if isinstance(graphs[0], tuple) or isinstance(graphs[1], tuple):
        assert graphs[0] == graphs[1]
        return
    for _ in range(3):
        array = data.draw(arrays(datatype, shape, finite=False))
        sent = Tensor("x", datatype, shape, encode_bytes(list(array.flat)) if datatype == "BYTES" else array.tobytes())
        one, other = (plain(outcome(ran, model, sent)) for model in graphs)
        assert one == other
