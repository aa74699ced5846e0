"""Spans become time that each has for itself."""

import pytest

from tools.modelctl.trace.spans import Row, Trace

from .traces import MAIN, OTHER, written


def own(trace: Trace) -> dict[str, object]:
    return {f"{row.label}{'∥' * row.lane}": pytest.approx(row.own) for row in trace.rows}


def test_what_runs_within_another_is_not_counted_twice():
    trace = written(("init", "", 0, 10, MAIN), ("import", "numpy", 2, 8, MAIN), ("import", "numpy.linalg", 3, 5, MAIN), end=12)

    assert own(trace) == {"INIT, waiting": 4, "import numpy": 6, "everything else": 2}
    assert trace.rows[0].parts == [(0, 2), (8, 10)]


def test_the_main_thread_makes_up_the_whole_time_and_others_run_beside_it():
    trace = written(
        ("interpreter", "", 0, 3, MAIN),
        ("session", "", 4, 9, MAIN),
        ("request", "s3 GET model.onnx", 3.5, 6, OTHER),
        ("connect", "host", 3.5, 4, OTHER),
        end=10,
    )

    assert own(trace) == {
        "interpreter": 3, "session": 5, "everything else": 2, "s3 GET model.onnx∥": 2, "connect to host∥": 0.5,
    }  # fmt: skip
    assert sum(row.own for row in trace.rows if row.lane == 0) == pytest.approx(trace.total)


def test_spans_that_follow_each_other_within_one_keep_their_order():
    trace = written(
        ("init", "", 0, 9, MAIN), ("request", "a", 1, 2, MAIN), ("request", "b", 2, 4, MAIN), ("request", "a", 6, 7, MAIN), end=9
    )

    parts = {row.label: row.parts for row in trace.rows}
    assert parts == {"INIT, waiting": [(0, 1), (4, 6), (7, 9)], "a": [(1, 2), (6, 7)], "b": [(2, 4)]}


def test_small_imports_are_told_together_those_of_the_standard_library_apart():
    trace = written(
        ("import", "json.decoder", 0, 0.5, MAIN), ("import", "re", 1, 1.5, MAIN), ("import", "orjson", 2, 2.5, MAIN),
        ("import", "numpy", 10, 60, MAIN), ("import", "logging", 60, 70, MAIN), end=100,
    )  # fmt: skip

    assert own(trace) == {
        "import standard library": 1, "import other packages": 0.5, "import numpy": 50, "import logging": 10, "everything else": 38.5,
    }  # fmt: skip


def test_what_was_going_on_when_the_answer_was_ready_ends_there():
    trace = written(("handler", "", 1, 50, MAIN), ("log", "", 20, 30, MAIN), end=10)

    assert own(trace) == {"handler": 9}
    assert trace.total == pytest.approx(9)


def test_a_program_gets_every_span():
    document = written(("run", "", 1, 3, MAIN), end=4).document()

    assert document["total_ms"] == 3
    assert document["spans"] == [{"kind": "run", "name": "", "begin": 0, "end": 2, "lane": 0}]
    assert [row["what"] for row in document["rows"]] == ["first run", "everything else"]


def test_a_trace_without_an_end_is_none():
    with pytest.raises(ValueError, match="no end"):
        Trace.read([("run", "", 1, 2, MAIN)])


def test_a_row_says_what_it_is():
    assert (Row("import", "numpy", 0).label, Row("run", "", 0).label) == ("import numpy", "first run")
