"""ONNX graphs, made node by node so that a test says what its model does."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from onnx import ModelProto, TensorProto, helper

from modelserve.session import Session, open_session
from modelserve.settings import PredictSettings

ELEMENTS = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
Shape = tuple[int | str, ...]


def value(name: str, datatype: str, shape: Shape):
    return helper.make_tensor_value_info(name, ELEMENTS[datatype], shape)


def graph(nodes, inputs, outputs, constants=()) -> bytes:
    made = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), list(constants))
    return _bytes(helper.make_model(made, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=10))


def identity(datatype: str = "FP32", shape: Shape = ("rows", 3)) -> bytes:
    """`y` is `x`."""
    return unary("Identity", datatype, shape)


def unary(operator: str, datatype: str = "FP32", shape: Shape = ("rows", 3)) -> bytes:
    node = helper.make_node(operator, ["x"], ["y"])
    return graph([node], [value("x", datatype, shape)], [value("y", datatype, shape)])


def scaled(factor: float) -> bytes:
    """`y` is `x` times `factor`: two factors are two versions of a model."""
    constant = helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])
    node = helper.make_node("Mul", ["x", "factor"], ["y"])
    return graph([node], [value("x", "FP32", ("rows", 3))], [value("y", "FP32", ("rows", 3))], [constant])


def pair() -> bytes:
    """`total` is `a` + `b`, `difference` is `a` - `b`, each [rows, 2]."""
    nodes = [helper.make_node("Add", ["a", "b"], ["total"]), helper.make_node("Sub", ["a", "b"], ["difference"])]
    shape: Shape = ("rows", 2)
    inputs = [value("a", "FP32", shape), value("b", "FP32", shape)]
    return graph(nodes, inputs, [value("total", "FP32", shape), value("difference", "FP32", shape)])


def lookup() -> bytes:
    """`y` is one of three numbers by its index `x`; ONNX Runtime refuses any other index, naming it."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    return graph([node], [value("x", "INT64", ("rows",))], [value("y", "FP32", ("rows",))], [table])


def picky() -> bytes:
    """`y` is 1 for the text "known"; any other text is refused."""
    node = helper.make_node("OneHotEncoder", ["x"], ["y"], domain="ai.onnx.ml", cats_strings=["known"], zeros=0)
    return graph([node], [value("x", "BYTES", ("rows",))], [value("y", "FP32", ("rows", 1))])


def non_zero() -> bytes:
    """`y` holds the positions of what is not zero in `x`: no elements for zeros."""
    node = helper.make_node("NonZero", ["x"], ["y"])
    return graph([node], [value("x", "FP32", ("n",))], [value("y", "INT64", (1, "found"))])


def endless(on: int = 1) -> bytes:
    """Counts without end when `x` is `on`, answers at once when it is the other of 0 and 1."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["keep"], ["keep_out"]),
            helper.make_node("Identity", ["state"], ["state_out"]),
        ],
        "body",
        [value("step", "INT64", ()), value("keep", "BOOL", ()), value("state", "INT64", (1,))],
        [value("keep_out", "BOOL", ()), value("state_out", "INT64", (1,))],
    )
    trips = helper.make_tensor("trips", TensorProto.INT64, [], [np.iinfo(np.int64).max])
    shape = helper.make_tensor("scalar", TensorProto.INT64, [0], [])
    nodes = [
        helper.make_node("Equal", ["x", "on"], ["flag"]),
        helper.make_node("Reshape", ["flag", "scalar"], ["go"]),
        helper.make_node("Loop", ["trips", "go", "x"], ["y"], body=body),
    ]
    switch = helper.make_tensor("on", TensorProto.INT64, [1], [on])
    return graph(nodes, [value("x", "INT64", (1,))], [value("y", "INT64", (1,))], [trips, shape, switch])


def endless_for(rows: int) -> bytes:
    """`y` is `x`, [rows, 2], for exactly so many rows only after 2^60 turns."""
    turn = helper.make_graph(
        [helper.make_node("Identity", ["goes"], ["still"]), helper.make_node("Identity", ["before"], ["after"])],
        "turn",
        [value("i", "INT64", ()), value("goes", "BOOL", ()), value("before", "FP32", ("rows", 2))],
        [value("still", "BOOL", ()), value("after", "FP32", ("rows", 2))],
    )
    nodes = [
        helper.make_node("Shape", ["x"], ["size"], start=0, end=1),
        helper.make_node("Equal", ["size", "rows"], ["these"]),
        helper.make_node("Where", ["these", "many", "one"], ["turns"]),
        helper.make_node("Loop", ["turns", "", "x"], ["y"], body=turn),
    ]
    numbers = {"rows": rows, "many": 2**60, "one": 1}
    constants = [helper.make_tensor(name, TensorProto.INT64, [1], [number]) for name, number in numbers.items()]
    return graph(nodes, [value("x", "FP32", ("rows", 2))], [value("y", "FP32", ("rows", 2))], constants)


def filled() -> bytes:
    """`y` is as many zeros as `x` says: a large number is a memory bomb."""
    node = helper.make_node("ConstantOfShape", ["x"], ["y"])
    return graph([node], [value("x", "INT64", (1,))], [value("y", "FP32", ("n",))])


def folded(elements: int) -> bytes:
    """`y` is `x` plus a sum of `elements` zeros, all of which ONNX Runtime makes when it loads the graph."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [elements])
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("Mul", ["zeros", "zeros"], ["squares"]),
        helper.make_node("ReduceSum", ["squares"], ["total"], keepdims=0),
        helper.make_node("Add", ["x", "total"], ["y"]),
    ]
    return graph(nodes, [value("x", "FP32", ("rows", 3))], [value("y", "FP32", ("rows", 3))], [shape])


def session(
    model: bytes, *, name: str = "sample", threads: int = 1, refuse_nan: bool = False, backend: str = PredictSettings.session_backend
) -> Session:
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(model)
        return open_session(str(path), name=name, threads=threads, refuse_nan=refuse_nan, backend=backend)


@cache
def identity_session(datatype: str, rank: int, backend: str = PredictSettings.session_backend) -> Session:
    return session(identity(datatype, tuple(f"d{axis}" for axis in range(rank))), backend=backend)


def _bytes(model: ModelProto) -> bytes:
    serialized: bytes = model.SerializeToString()
    return serialized
