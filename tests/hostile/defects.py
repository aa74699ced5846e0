"""What is done to a valid request's document, one change each; the status follows from the change, not from what the server says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from modelserve.tensors import DATATYPES
from tests.hostile.case import Case, Outputs
from tests.hostile.draft import Draft, drafts
from tests.hostile.strings import UNKNOWN, names
from tests.hostile.targets import HALVES, INDICES, KINDS, NUMBERS, PAIR, SPREAD, TARGETS, WORDS, Target
from tests.unit.modelserve.strategies import anything

__all__ = ["document_cases"]

Change = Callable[[st.DrawFn, Draft], None]
_LISTED = (NUMBERS, INDICES, PAIR, KINDS)
_FLOATS = (NUMBERS, PAIR)


@dataclass(frozen=True)
class _Defect:
    change: Change
    status: int
    targets: tuple[Target, ...]
    binary: bool | None


_DEFECTS: list[_Defect] = []


def _defect(status: int = 400, targets: tuple[Target, ...] = TARGETS, *, binary: bool | None = None) -> Callable[[Change], Change]:
    def register(change: Change) -> Change:
        _DEFECTS.append(_Defect(change, status, targets, binary))
        return change

    return register


@st.composite
def document_cases(draw: st.DrawFn) -> Case:
    """A valid request with one change to its document."""
    defect = draw(st.sampled_from(_DEFECTS))
    draft = draw(drafts(defect.targets, binary=defect.binary))
    defect.change(draw, draft)
    name = defect.change.__name__.strip("_").replace("_", " ")
    return draft.case("document", name, defect.status)


def _but(*kinds: type) -> st.SearchStrategy[Any]:
    """Any JSON value of another kind; a boolean is no number here."""
    return anything.filter(lambda value: type(value) not in kinds)


def _one(draw: st.DrawFn, draft: Draft) -> dict[str, Any]:
    """One of the inputs."""
    return draw(st.sampled_from(draft.inputs))


def _set(tensor: dict[str, Any], name: str, value: Any) -> None:
    tensor["parameters"] = {**tensor.get("parameters", {}), name: value}


@_defect()
def inputs_that_are_no_list(draw: st.DrawFn, draft: Draft) -> None:
    draft.document["inputs"] = draw(_but(list) | st.just([]))


@_defect()
def a_key_that_every_request_has_is_missing(draw: st.DrawFn, draft: Draft) -> None:
    tensor = _one(draw, draft)
    del tensor[draw(st.sampled_from([key for key in tensor if key != "parameters" or draft.binary]))]


@_defect()
def an_input_that_is_no_object(draw: st.DrawFn, draft: Draft) -> None:
    draft.inputs[draw(st.integers(0, len(draft.inputs) - 1))] = draw(_but(dict))


@_defect()
def a_name_that_no_input_has(draw: st.DrawFn, draft: Draft) -> None:
    _one(draw, draft)["name"] = draw(UNKNOWN)


@_defect()
def a_name_that_is_no_text(draw: st.DrawFn, draft: Draft) -> None:
    _one(draw, draft)["name"] = draw(_but(str) | st.just(""))


@_defect()
def an_input_that_stands_twice(draw: st.DrawFn, draft: Draft) -> None:
    draft.inputs.insert(draw(st.integers(0, len(draft.inputs))), dict(_one(draw, draft)))


@_defect(targets=(PAIR, KINDS, HALVES))
def an_input_that_is_missing(draw: st.DrawFn, draft: Draft) -> None:
    draft.inputs.remove(_one(draw, draft))


@_defect()
def another_datatype(draw: st.DrawFn, draft: Draft) -> None:
    tensor = _one(draw, draft)
    tensor["datatype"] = draw(st.sampled_from([each for each in DATATYPES if each != tensor["datatype"]]))


@_defect()
def no_such_datatype(draw: st.DrawFn, draft: Draft) -> None:
    _one(draw, draft)["datatype"] = draw(anything.filter(lambda value: not isinstance(value, str) or value not in DATATYPES))


@_defect()
def a_shape_that_is_no_list(draw: st.DrawFn, draft: Draft) -> None:
    _one(draw, draft)["shape"] = draw(_but(list))


@_defect()
def a_size_that_is_none(draw: st.DrawFn, draft: Draft) -> None:
    wrong = st.integers(max_value=-1) | st.sampled_from([2**63, 2**64, 10**30, 10**400]) | _but(int)
    shape = _one(draw, draft)["shape"]
    shape[draw(st.integers(0, len(shape) - 1))] = draw(wrong)


@_defect()
def a_huge_dimension(draw: st.DrawFn, draft: Draft) -> None:
    shape = _one(draw, draft)["shape"]
    shape[draw(st.integers(0, len(shape) - 1))] = draw(st.sampled_from([2**31 - 1, 2**31, 2**32, 2**61, 2**62, 2**63 - 1]))


@_defect()
def another_rank(draw: st.DrawFn, draft: Draft) -> None:
    tensor = _one(draw, draft)
    tensor["shape"] += [1] * draw(st.sampled_from([1, 2, 63, 64, 1000]))


@_defect()
def another_count_of_rows(draw: st.DrawFn, draft: Draft) -> None:
    shape = _one(draw, draft)["shape"]
    shape[0] += draw(st.sampled_from([-1, 1, 2, 1000]))


@_defect(binary=False)
def no_rows(draw: st.DrawFn, draft: Draft) -> None:
    for tensor in draft.inputs:
        tensor["shape"][0], tensor["data"] = 0, []


@_defect(binary=False)
def data_that_is_no_list(draw: st.DrawFn, draft: Draft) -> None:
    _one(draw, draft)["data"] = draw(_but(list))


@_defect(binary=False)
def an_element_too_many_or_too_few(draw: st.DrawFn, draft: Draft) -> None:
    tensor = _one(draw, draft)
    tensor["data"] = draw(st.sampled_from([tensor["data"][:-1], tensor["data"] + tensor["data"][-1:], [tensor["data"], tensor["data"]]]))


@_defect(targets=(NUMBERS, INDICES, PAIR), binary=False)
def an_element_that_is_no_number(draw: st.DrawFn, draft: Draft) -> None:
    data = _one(draw, draft)["data"]
    data[draw(st.integers(0, len(data) - 1))] = draw(_but(int, float) | st.sampled_from(["1", "NaN", "0x10"]))


@_defect(targets=(WORDS,), binary=False)
def an_element_that_is_no_text(draw: st.DrawFn, draft: Draft) -> None:
    data = draft.inputs[0]["data"]
    data[draw(st.integers(0, len(data) - 1))] = draw(_but(str) | st.just("\ud800") | st.just("a\udfffb"))


@_defect(targets=(KINDS,), binary=False)
def a_number_that_its_datatype_does_not_hold(draw: st.DrawFn, draft: Draft) -> None:
    tensor = draw(st.sampled_from([each for each in draft.inputs if "INT" in each["datatype"]]))
    bits = int(tensor["datatype"].lstrip("UINT"))
    low, high = (0, 2**bits - 1) if tensor["datatype"].startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    tensor["data"][0] = draw(st.sampled_from([low - 1, high + 1, 0.5, -1e30, 10**30, 1e300]))


@_defect(targets=_FLOATS, binary=False)
def a_number_beyond_fp32_where_the_answer_is_json(draw: st.DrawFn, draft: Draft) -> None:
    """It is an infinity, as in numpy."""
    draft.document.pop("parameters", None)
    data = _one(draw, draft)["data"]
    data[draw(st.integers(0, len(data) - 1))] = draw(st.sampled_from([1e39, -1e39, 1e308, 10**39, -(10**300), 10**400]))


@_defect(targets=(INDICES,))
def an_index_outside_of_the_table(draw: st.DrawFn, draft: Draft) -> None:
    wrong = draw(st.sampled_from([3, -4, 2**31, -(2**63), 2**63 - 1]))
    if draft.binary:
        draft.tail = wrong.to_bytes(8, "little", signed=True) + draft.tail[8:]
    else:
        draft.inputs[0]["data"][0] = wrong


@_defect(targets=_FLOATS, binary=False)
def not_a_number_where_the_answer_is_json(draw: st.DrawFn, draft: Draft) -> None:
    draft.document.pop("parameters", None)
    data = _one(draw, draft)["data"]
    data[draw(st.integers(0, len(data) - 1))] = draw(st.sampled_from([float("nan"), float("inf"), float("-inf")]))


@_defect(targets=_LISTED, binary=False)
def data_nested_as_no_shape_says(draw: st.DrawFn, draft: Draft) -> None:
    tensor = _one(draw, draft)
    data = tensor["data"]
    tensor["data"] = draw(st.sampled_from([[[[value]] for value in data], [data[:1], [*data[1:], 0]], [[data]], [*data[:-1], [data[-1]]]]))


@_defect(binary=True)
def data_beside_binary_data(draw: st.DrawFn, draft: Draft) -> None:
    _one(draw, draft)["data"] = draw(_but(type(None)))


@_defect(binary=True)
def another_size_of_binary_data(draw: st.DrawFn, draft: Draft) -> None:
    tensor = _one(draw, draft)
    size = tensor["parameters"]["binary_data_size"]
    wrong = [size + 1, size - 1, -1, -size - 1, 2**31, 2**62, 2**63, 10**30, str(size), True, float(size), None, [size]]
    _set(tensor, "binary_data_size", draw(st.sampled_from(wrong)))


@_defect(binary=False)
def binary_data_that_is_not_there(draw: st.DrawFn, draft: Draft) -> None:
    tensor = _one(draw, draft)
    del tensor["data"]
    _set(tensor, "binary_data_size", draw(st.integers(min_value=1)))


@_defect()
def shared_memory(draw: st.DrawFn, draft: Draft) -> None:
    region = draw(names)
    draw(st.sampled_from([draft.document, *draft.inputs])).setdefault("parameters", {})["shared_memory_region"] = region


@_defect()
def parameters_that_are_no_object(draw: st.DrawFn, draft: Draft) -> None:
    draw(st.sampled_from([draft.document, *draft.inputs]))["parameters"] = draw(_but(dict, type(None)))


@_defect(targets=(NUMBERS, WORDS, PAIR, KINDS))
def a_flag_that_is_none(draw: st.DrawFn, draft: Draft) -> None:
    draft.document["parameters"] = {"binary_data_output": draw(_but(bool))}


@_defect()
def an_id_that_is_no_text(draw: st.DrawFn, draft: Draft) -> None:
    draft.document["id"] = draw(_but(str, type(None)) | st.sampled_from(["\ud800", "id\udc00"]))


@_defect()
def outputs_that_are_no_list(draw: st.DrawFn, draft: Draft) -> None:
    draft.document["outputs"] = draw(_but(list, type(None)))


@_defect()
def an_output_that_is_none(draw: st.DrawFn, draft: Draft) -> None:
    draft.document["outputs"] = [draw(_but(dict) | st.fixed_dictionaries({"name": _but(str)}))]


@_defect()
def a_name_that_no_output_has(draw: st.DrawFn, draft: Draft) -> None:
    draft.document["outputs"] = [{"name": draw(UNKNOWN)}]


@_defect()
def an_output_twice(draw: st.DrawFn, draft: Draft) -> None:
    draft.document["outputs"] = [{"name": draw(st.sampled_from(sorted(draft.target.outputs)))}] * 2


@_defect(targets=(NUMBERS, PAIR, SPREAD))
def classes_that_are_no_count(draw: st.DrawFn, draft: Draft) -> None:
    name = draw(st.sampled_from(sorted(draft.target.outputs)))
    wrong = draw(st.sampled_from([-1, 1.5, True, "3", [1], 10**30, 2**64]))
    draft.document["outputs"] = [{"name": name, "parameters": {"classification": wrong}}]


@_defect(targets=(WORDS, HALVES))
def classes_of_what_has_none(draw: st.DrawFn, draft: Draft) -> None:
    name = draw(st.sampled_from(sorted(draft.target.outputs)))
    draft.document["outputs"] = [{"name": name, "parameters": {"classification": draw(st.integers(1, 2**31))}}]


@_defect(targets=(HALVES,))
def an_answer_that_json_can_not_carry(draw: st.DrawFn, draft: Draft) -> None:
    draft.document["parameters"] = {"binary_data_output": False}


@_defect(200)
def keys_that_nobody_asked_for(draw: st.DrawFn, draft: Draft) -> None:
    where = draw(st.sampled_from([draft.document, *draft.inputs]))
    where.update(draw(st.dictionaries(names.map(lambda name: f"_{name}"), _readable, min_size=1, max_size=4)))


@_defect(200)
def parameters_that_nobody_asked_for(draw: st.DrawFn, draft: Draft) -> None:
    parameters = draw(st.sampled_from([draft.document, *draft.inputs])).setdefault("parameters", {})
    parameters.update(draw(st.dictionaries(st.sampled_from(["model_uri", "path", "timeout", "priority", "__class__"]), names, min_size=1)))


@_defect(200)
def an_id_of_any_text(draw: st.DrawFn, draft: Draft) -> None:
    draft.document["id"] = draw(names)
    draft.outputs = Outputs(draft.outputs.datatypes, draft.outputs.arrays, draft.document["id"])


_readable = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | names
    | st.lists(names)
)
