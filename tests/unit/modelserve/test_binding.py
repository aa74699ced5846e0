"""ONNX Runtime behind buffers."""

import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import psutil
import pytest
from hypothesis import given
from onnx import TensorProto, helper

from modelserve import binding as session_module
from modelserve.errors import DeadlineExceeded, InsufficientMemory, InvalidInput, ModelFailed, UnverifiedModel
from modelserve.manifest import TensorSpec
from modelserve.session import Session
from modelserve.tensors import DATATYPES, Tensor, encode_bytes, iter_bytes, to_list

from .graphs import endless, filled, folded, identity, identity_session, lookup, pair, picky, scaled, session, value
from .strategies import tensors


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


@given(tensors(binary=True))
def test_every_datatype_comes_back_bit_by_bit(sent):
    datatype, array = sent
    data = encode_bytes(list(array.flat)) if datatype == "BYTES" else array.tobytes()

    (answer,) = ran(identity_session(datatype, array.ndim), Tensor("x", datatype, array.shape, data))

    assert (answer.datatype, tuple(answer.shape)) == (datatype, array.shape)
    assert bytes(memoryview(answer.data)) == data


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_the_signature_is_the_graphs(datatype):
    model = session(identity(datatype, ("rows", 3)))

    assert model.inputs == (TensorSpec(name="x", datatype=datatype, shape=(-1, 3)),)
    assert model.outputs == (TensorSpec(name="y", datatype=datatype, shape=(-1, 3)),)


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_every_datatype_warms_up(datatype):
    session(identity(datatype, ("rows", 3))).warm_up(seconds=20)


def test_a_graph_that_refuses_made_text_is_warm_all_the_same():
    model = session(picky())
    with pytest.raises(ModelFailed, match="Unknown Category"):
        ran(model, Tensor("x", "BYTES", (1,), encode_bytes([b""])))

    model.warm_up(seconds=20)

    (answer,) = ran(model, Tensor("x", "BYTES", (1,), encode_bytes([b"known"])))
    assert to_list(answer) == [1.0]


@pytest.mark.parametrize("offset", range(5))
def test_data_may_begin_at_any_byte(offset):
    """It begins where the JSON before it ends."""
    values = np.arange(96, dtype="f4").reshape(32, 3)
    view = memoryview(bytes(offset) + values.tobytes())[offset:]

    (answer,) = ran(session(scaled(2)), Tensor("x", "FP32", (32, 3), view))

    assert bytes(memoryview(answer.data)) == (values * 2).tobytes()


def test_only_the_outputs_asked_for_are_given_in_that_order():
    a, b = numbers([[1, 2]], "a"), numbers([[3, 4]], "b")

    assert [answer.name for answer in ran(session(pair()), b, a, outputs=["difference", "total"])] == ["difference", "total"]
    assert [answer.name for answer in ran(session(pair()), a, b, outputs=["total"])] == ["total"]


def test_text_of_any_kind_passes():
    elements = [b"a\0b", b"", "é ☃ \U0001f600".encode(), b"x" * 10_000]

    (answer,) = ran(identity_session("BYTES", 1), Tensor("x", "BYTES", (4,), encode_bytes(elements)))

    assert list(iter_bytes(answer)) == elements


def test_an_endless_run_is_ended_at_its_deadline_and_the_next_one_answers():
    model = session(endless())
    go, stop = numbers([1], datatype="INT64", dtype="i8"), numbers([0], datatype="INT64", dtype="i8")

    for _ in range(2):
        with pytest.raises(DeadlineExceeded, match=r"did not answer within 0.05 s; send fewer rows, or raise `timeout`"):
            ran(model, go, seconds=0.05)
        assert bytes(memoryview(ran(model, stop)[0].data)) == bytes(8)


def test_a_deadline_that_has_passed_ends_a_run_too():
    with pytest.raises(DeadlineExceeded):
        ran(session(endless()), numbers([1], datatype="INT64", dtype="i8"), seconds=-1)


def test_many_runs_leave_no_run_and_no_further_thread_to_the_watchdog():
    model = session(identity())
    ran(model, numbers([[1, 2, 3]]))
    before = threading.active_count()

    for _ in range(500):
        ran(model, numbers([[1, 2, 3]]))
    with pytest.raises(ModelFailed):
        ran(session(lookup()), numbers([9], datatype="INT64", dtype="i8"))

    assert threading.active_count() == before
    assert session_module._WATCHDOG._runs == {}


def test_what_the_graph_refuses_is_said_without_paths_and_not_logged(capfd: pytest.CaptureFixture[str]):
    """ONNX Runtime's own error lines would carry elements of the input."""
    with pytest.raises(ModelFailed) as raised:
        ran(session(lookup()), numbers([987654321], datatype="INT64", dtype="i8"))

    assert "indices element out of data bounds, idx=987654321" in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_memory_that_can_not_be_had_is_an_error_of_its_own_and_the_next_run_answers():
    model = session(filled())
    few, many = numbers([3], datatype="INT64", dtype="i8"), numbers([10**15], datatype="INT64", dtype="i8")

    for _ in range(2):
        with pytest.raises(
            InsufficientMemory, match=r"more memory for this input than its function has; send fewer rows, or raise `memory`"
        ):
            ran(model, many)
        assert to_list(ran(model, few)[0]) == [0.0] * 3


def test_memory_that_a_run_has_taken_is_given_back():
    """An arena would keep it for runs to come; other models and Python itself need it."""
    model = session(filled())
    ran(model, numbers([3], datatype="INT64", dtype="i8"))
    before = psutil.Process().memory_info().rss

    ran(model, numbers([50_000_000], datatype="INT64", dtype="i8"))

    assert psutil.Process().memory_info().rss < before + 50_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to its memory")
def test_a_graph_that_asks_for_too_much_memory_as_it_loads_is_refused(a_gigabyte_left: None):
    """ONNX Runtime computes what is constant when it loads a graph: here, twice 800 MB of zeros."""
    with pytest.raises(InsufficientMemory, match=r"more memory to load than its function has; .* raise `memory`"):
        session(folded(200_000_000))

    session(folded(10)).warm_up(seconds=20)


@pytest.mark.parametrize("content", [b"", b"no graph", identity()[:-20]])
def test_bytes_that_are_no_graph_are_refused_without_paths(content):
    with pytest.raises(UnverifiedModel) as raised:
        session(content)

    assert "one that this ONNX Runtime loads; publish the model again" in str(raised.value)
    assert "/" not in str(raised.value).replace("ai.onnx/", "")


def test_an_output_that_is_no_tensor_is_refused_with_what_to_convert_by():
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
def test_a_model_may_refuse_what_is_not_finite(datatype, dtype, wrong):
    model = session(identity(datatype, ("n",)), refuse_nan=True)

    with pytest.raises(InvalidInput, match="input 'x' holds NaN or infinity, which this model refuses; send finite numbers"):
        ran(model, numbers([1, wrong], datatype=datatype, dtype=dtype))
    assert ran(model, numbers([1, 2], datatype=datatype, dtype=dtype))


def test_a_model_that_refuses_nan_takes_everything_else():
    for datatype in ("BF16", "INT64", "BYTES", "BOOL"):
        session(identity(datatype), refuse_nan=True).warm_up(seconds=20)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_those_asked_for_and_do_not_spin(threads):
    options = vars(session(identity(), threads=threads))["_session"].get_session_options()

    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
