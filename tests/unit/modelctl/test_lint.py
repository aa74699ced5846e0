"""A model read before anything runs it: each rule refuses what it is for, and says what to do."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import AttributeProto, ModelProto, TensorProto, helper

from tests.unit.modelserve.graphs import endless, graph, identity, scaled, value
from tools.modelctl.lint import MAX_DEPTH, lint

MEMORY = 1769


def linted(folder: Path, model: bytes | ModelProto, *, memory: int = MEMORY) -> list[tuple[str, str]]:
    file = folder / "model.onnx"
    file.write_bytes(model.SerializeToString() if isinstance(model, ModelProto) else model)
    return [(finding.rule, str(finding)) for finding in lint(file, memory=memory)]


def parsed(model: bytes) -> ModelProto:
    found = ModelProto()
    found.ParseFromString(model)
    return found


def external() -> ModelProto:
    model = parsed(scaled(2))
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return model


def external_attribute() -> ModelProto:
    tensor = TensorProto(name="secret", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    nodes = [helper.make_node("Constant", [], ["c"], value=tensor), helper.make_node("Mul", ["x", "c"], ["y"])]
    return parsed(graph(nodes, [value("x", "FP32", ("n",))], [value("y", "FP32", ("n",))]))


def larger_than_its_file() -> ModelProto:
    model = parsed(scaled(2))
    model.graph.initializer[0].dims[:] = [2**40]
    return model


def sparse() -> ModelProto:
    model = parsed(scaled(2))
    one = helper.make_tensor("huge", TensorProto.FLOAT, [1], [1.0])
    place = helper.make_tensor("at", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(one, place, [2**40]))
    return model


def unknown_operator() -> ModelProto:
    return operator("RunShell", "com.example")


def contrib_operator() -> ModelProto:
    return operator("MatMulNBits", "com.microsoft")


def operator_of_a_later_set() -> ModelProto:
    """Swish is in operator set 24."""
    model = operator("Swish", "")
    model.opset_import[0].version = 18
    return model


def operator(name: str, domain: str) -> ModelProto:
    node = helper.make_node(name, ["x"], ["y"], domain=domain)
    model = parsed(graph([node], [value("x", "FP32", ("n",))], [value("y", "FP32", ("n",))]))
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return model


def later_set() -> ModelProto:
    model = parsed(identity())
    model.opset_import[0].version = 26
    return model


def later_ir() -> ModelProto:
    model = parsed(identity())
    model.ir_version = 14
    return model


def folded_by_a_locale() -> ModelProto:
    node = helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER", locale="en_US.UTF-8")
    return parsed(graph([node], [value("x", "BYTES", ("n",))], [value("y", "BYTES", ("n",))]))


def folded_by_the_default_locale() -> ModelProto:
    model = folded_by_a_locale()
    del model.graph.node[0].attribute[1]
    return model


def list_of_maps() -> ModelProto:
    model = parsed(identity())
    entry = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    model.graph.output[0].type.CopyFrom(helper.make_sequence_type_proto(entry))
    return model


def unservable_elements() -> ModelProto:
    model = parsed(identity())
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.COMPLEX64
    return model


def unprintable_name() -> ModelProto:
    model = parsed(identity())
    model.graph.input[0].name = model.graph.node[0].input[0] = "x\r\nSet-Cookie: a"
    return model


def forty_gigabytes() -> ModelProto:
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], np.array([10**5, 10**5], "<i8").tobytes(), raw=True)
    node = helper.make_node("ConstantOfShape", ["shape"], ["y"])
    return parsed(graph([node], [value("x", "FP32", ("n",))], [value("y", "FP32", ("n", "m"))], [shape]))


def nested(levels: int) -> ModelProto:
    """Subgraphs of `If` within one another."""
    inner = [helper.make_node("Identity", ["x"], ["y0"])]
    for level in range(levels):
        branch = helper.make_graph(inner, "branch", [], [value(f"y{level}", "FP32", ("n",))])
        inner = [helper.make_node("If", ["flag"], [f"y{level + 1}"], then_branch=branch, else_branch=branch)]
        if level > MAX_DEPTH:
            break
    flag = helper.make_tensor("flag", TensorProto.BOOL, [], [True])
    return parsed(graph(inner, [value("x", "FP32", ("n",))], [value(inner[-1].output[0], "FP32", ("n",))], [flag]))


def too_deep() -> ModelProto:
    return nested(MAX_DEPTH + 1)


def functions(calls: dict[str, list[str]]) -> ModelProto:
    """A model whose functions call each other, so many times, in that order; the graph calls the last."""
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    model = parsed(
        graph([helper.make_node(list(calls)[-1], ["x"], ["y"], domain="own")], [value("x", "FP32", ("n",))], [value("y", "FP32", ("n",))])
    )
    model.opset_import.append(opsets[1])
    for name, called in calls.items():
        nodes = [helper.make_node(other, ["x"], [f"y{place}"], domain="own") for place, other in enumerate(called)]
        nodes.append(helper.make_node("Identity", ["x"], ["y"]))
        model.functions.append(helper.make_function("own", name, ["x"], ["y"], nodes, opsets))
    return model


def a_billion_nodes() -> ModelProto:
    """Eight functions, each calling the one before it fifteen times."""
    return functions({f"f{level}": [f"f{level - 1}"] * 15 if level else [] for level in range(7)})


def overloads_of_a_billion_nodes() -> ModelProto:
    """As `a_billion_nodes`, each function with another of its name that is small and comes after it."""
    model = a_billion_nodes()
    model.graph.node[0].overload = "large"
    for function in list(model.functions):
        function.overload = "large"
        for node in function.node:
            node.overload = "large" if node.domain == "own" else ""
    model.functions.extend(functions({function.name: [] for function in model.functions}).functions)
    return model


def functions_in_a_circle() -> ModelProto:
    return functions({"f0": ["f1"], "f1": ["f0"]})


def a_chain_of_functions() -> ModelProto:
    return functions({f"f{level}": [f"f{level - 1}"] if level else [] for level in range(MAX_DEPTH + 2)})


def defaulted(attribute: AttributeProto) -> ModelProto:
    """A function whose node takes an attribute from the function's default."""
    model = functions({"f": []})
    attribute.name = "default"
    model.functions[0].attribute_proto.append(attribute)
    return model


def disguised(domain: str, name: str) -> ModelProto:
    """A harmless function of a built-in operator's name, which ONNX Runtime passes over for its own."""
    model = functions({name: []})
    model.functions[0].domain = model.graph.node[0].domain = domain
    return model


def an_overload_that_is_not_there() -> ModelProto:
    model = functions({"f": []})
    model.graph.node[0].overload = "other"
    return model


def an_external_default() -> ModelProto:
    tensor = TensorProto(name="secret", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    return defaulted(AttributeProto(type=AttributeProto.TENSOR, t=tensor))


def a_default_branch() -> ModelProto:
    return defaulted(AttributeProto(type=AttributeProto.GRAPH, g=parsed(endless()).graph))


def a_default_that_is_not_of_its_type() -> ModelProto:
    return defaulted(AttributeProto(type=AttributeProto.INT, i=1, graphs=[parsed(endless()).graph]))


def a_sparse_default() -> ModelProto:
    return defaulted(AttributeProto(type=AttributeProto.SPARSE_TENSOR, sparse_tensor=sparse().graph.sparse_initializer[0]))


def trips_shadowed_by_a_function() -> ModelProto:
    """An unused function has a small constant of the same name as the graph's trip count."""
    model = parsed(endless())
    model.opset_import.append(helper.make_opsetid("own", 1))
    constant = helper.make_node("Constant", [], ["trips"], value_int=1)
    model.functions.append(helper.make_function("own", "unused", [], ["trips"], [constant], [helper.make_opsetid("", 21)]))
    return model


def trips_of_a_node(**value: Any) -> ModelProto:
    model = parsed(endless())
    del model.graph.initializer[0]
    model.graph.node.insert(0, helper.make_node("Constant", [], ["trips"], **value))
    return model


HOSTILE: dict[str, tuple[Callable[[], ModelProto | bytes], str]] = {
    "format": (lambda: b"\x0a\xff no model", "convert it again"),
    "external": (external, "save the model as one"),
    "external ": (external_attribute, "save the model as one"),
    "dimensions": (larger_than_its_file, "convert the model again"),
    "sparse": (sparse, "make it dense"),
    "operator": (unknown_operator, "com.example.RunShell is not one that every tier runs; use those of ai.onnx"),
    "operator ": (contrib_operator, "com.microsoft.MatMulNBits is not one"),
    "operator  ": (operator_of_a_later_set, "ai.onnx.Swish is not one"),
    "operator   ": (lambda: disguised("com.microsoft", "Gelu"), "give it one of its own"),
    "operator    ": (lambda: disguised("ai.onnx.ml", "Scaler"), "give it one of its own"),
    "operator     ": (lambda: disguised("", "Abs"), "give it one of its own"),
    "operator      ": (an_overload_that_is_not_there, "own.f is not one that every tier runs"),
    "opset": (later_set, "ai.onnx 26; convert with target_opset 7 to 25"),
    "ir": (later_ir, "convert it to one from 3 to 13"),
    "locale": (folded_by_a_locale, '{"locale": "C.UTF-8"}'),
    "locale ": (folded_by_the_default_locale, '{"locale": "C.UTF-8"}'),
    "signature": (list_of_maps, "convert with zipmap=False"),
    "signature ": (unservable_elements, "cast it in the graph"),
    "signature  ": (unprintable_name, "rename it"),
    "memory": (forty_gigabytes, "raise `memory`, or make fewer"),
    "loop": (endless, "give it a trip count of at most 1,000,000"),
    "loop ": (trips_shadowed_by_a_function, "give it a trip count of at most 1,000,000"),
    "loop  ": (lambda: trips_of_a_node(value_int=2**62), "give it a trip count of at most 1,000,000"),
    "loop   ": (lambda: trips_of_a_node(value_ints=[2**62]), "give it a trip count of at most 1,000,000"),
    "default": (an_external_default, "write it into the function's nodes"),
    "default ": (a_default_branch, "write it into the function's nodes"),
    "default  ": (a_default_that_is_not_of_its_type, "write it into the function's nodes"),
    "default   ": (a_sparse_default, "write it into the function's nodes"),
    "depth": (too_deep, "make it flatter"),
    "depth ": (functions_in_a_circle, "make it flatter"),
    "depth  ": (a_chain_of_functions, "make it flatter"),
    "nodes": (a_billion_nodes, "make it smaller"),
    "nodes ": (overloads_of_a_billion_nodes, "make it smaller"),
}


@pytest.mark.parametrize("rule", HOSTILE)
def test_what_must_not_be_served_is_found_by_its_rule_alone_and_told_what_to_do(rule: str, tmp_path: Path) -> None:
    make, advice = HOSTILE[rule]

    ((found, text),) = linted(tmp_path, make())

    assert found == rule.strip()
    assert advice in text


def test_a_file_is_measured_before_it_is_parsed(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    os.truncate(tmp_path / "model.onnx", 2**40)  # sparse: no disk is used

    (finding,) = lint(tmp_path / "model.onnx", memory=MEMORY)

    assert finding.rule == "size"
    assert "at most 1,854,930,944 can be loaded; raise `memory`" in str(finding)


def test_a_link_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(identity())
    (tmp_path / "model.onnx").symlink_to(tmp_path / "other.onnx")

    assert [finding.rule for finding in lint(tmp_path / "model.onnx", memory=MEMORY)] == ["file"]


def test_subgraphs_deeper_than_the_parser_reads_are_no_model(tmp_path: Path) -> None:
    body = b""
    for _ in range(2_000):
        for field in (b"\x32", b"\x2a", b"\x0a"):  # the graph of an attribute, of a node, of a graph
            body = field + _varint(len(body)) + body

    assert [rule for rule, _ in linted(tmp_path, b"\x3a" + _varint(len(body)) + body)] == ["format"]


def _varint(number: int) -> bytes:
    head = b""
    while number > 127:
        head, number = head + bytes([number & 127 | 128]), number >> 7
    return head + bytes([number])


@pytest.mark.parametrize(
    "model",
    [
        *(identity(), scaled(2), nested(MAX_DEPTH), functions({"f0": [], "f1": ["f0"] * 15})),
        *(defaulted(helper.make_attribute("default", plain)) for plain in (1, 0.5, "text", [1, 2], [0.5], ["text"])),
        trips_of_a_node(value_int=1_000_000),
    ],
    ids=[
        "identity",
        "scaled",
        "nested",
        "functions",
        *(f"default {kind}" for kind in ("i", "f", "s", "ints", "floats", "strings")),
        "loop",
    ],
)
def test_what_may_be_served_has_no_findings(tmp_path: Path, model: bytes | ModelProto) -> None:
    assert linted(tmp_path, model) == []


def test_all_findings_are_told_together(tmp_path: Path) -> None:
    model = list_of_maps()
    model.ir_version = 14
    model.opset_import[0].version = 26

    assert [rule for rule, _ in linted(tmp_path, model)] == ["ir", "opset", "signature"]
