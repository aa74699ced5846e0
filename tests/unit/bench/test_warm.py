"""The handler's own time, images and whole calls, of recorded numbers."""

import json
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import pytest

from tools.bench import warm
from tools.bench.measures import Options
from tools.bench.warm import bare, calls, image, measure, overhead
from tools.loopback.errors import MeasureError

EVENT = {"path": "/", "body": json.dumps({"id": "a", "inputs": [{"name": "x", "shape": [1, 2], "data": [1, 2]}]})}


@pytest.fixture
def subject(bare_subject: Any) -> Any:
    bare_subject.event = EVENT
    bare_subject.environ["SESSION_BACKEND"] = "native"
    return bare_subject


def printing(value: object) -> str:
    return f"print({json.dumps(value)!r})"


def printing_of(timed: dict[str, Any]) -> str:
    """What stands under the last argument."""
    return f"import json, sys; print(json.dumps({timed!r}[sys.argv[3]]))"


def test_overhead_is_the_median_of_what_is_added_to_each_run_beside_it(subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = [(1000, 2000), (1100, 4100), (1250, 4250), (1000, 5000), (1000, 101_000)]
    monkeypatch.setattr(warm, "OVERHEAD", printing_of({"handler": handler, "lean": [(1000, 1500)] * 5}))
    handled, least = overhead(subject, rounds=5)
    assert (handled.ours, handled.floor, handled.compared, handled.runs, handled.bar) == (4.25, 1.0, 3.0, 5 * warm._PROCESSES, 12.0)
    assert (least.ours, least.floor, least.compared, least.runs, least.bar) == (1.5, 1.0, 0.5, 5 * warm._PROCESSES, None)


def test_turns_in_which_others_had_the_machine_are_left_out(subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = [(1700, 17_000)] * 8
    monkeypatch.setattr(warm, "OVERHEAD", printing_of({"handler": [*slow, *[(1000, 4000)] * 2], "lean": [*slow, *[(1000, 1500)] * 2]}))
    handled, least = overhead(subject, rounds=10)
    assert (handled.compared, handled.runs, least.compared, least.runs) == (3.0, 2 * warm._PROCESSES, 0.5, 2 * warm._PROCESSES)


def test_a_request_of_more_rows_is_the_usual_row_so_often(subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is what the program has been told of it."""
    told = "import json, sys; sent = json.loads(json.loads(sys.argv[1])['body'])['inputs'][0]"
    check = "assert sent['shape'] == [32, 2] and sent['data'] == [1, 2] * 32, sent"
    monkeypatch.setattr(warm, "OVERHEAD", f"{told}; {check}; {printing([(0, int(1e3 * rows)) for rows in (32, 32)])}")
    assert next(overhead(subject, rounds=2, rows=32)).compared == 32.0


def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The binding's packages, and a program that answers recorded numbers."""
    monkeypatch.setattr(warm, "with_binding", lambda root: root)
    monkeypatch.setattr(warm, "BARE", f"import sys; assert sys.argv[2] == 'native'; {printing([(10_000, 12_000)] * 3)}")


def test_our_run_is_told_beside_the_bindings_and_held_to_nothing(subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bound(monkeypatch)
    result = bare(subject, rounds=3)
    assert (result.ours, result.floor, result.bar) == (12.0, 10.0, None)
    assert result.compared == pytest.approx(1.2)


def test_an_image_is_measured_whole_in_binary_and_beside_the_fastest_parser_in_json(subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = [(1, 400_000, 8_000_000, 8_800_000), (1, 500_000, 10_000_000, 12_000_000), (1, 300_000, 1_000_000, 1_000_000)]
    monkeypatch.setattr(warm, "IMAGE", printing(timed))
    binary, as_json = image(subject, rounds=3)
    assert binary.compared == pytest.approx(0.4)
    assert as_json.compared == pytest.approx(1.1)
    assert [each.unit for each in (binary, as_json) if each.met] == ["ms", "ms"]


class Invoked:
    def __init__(self, status: int) -> None:
        self.answer = json.dumps({"statusCode": status}).encode()
        self.asked = 0

    def ask(self) -> bytes:
        self.asked += 1
        return self.answer

    first = ask


def answering(monkeypatch: pytest.MonkeyPatch, *statuses: int) -> list[Invoked]:
    """The minimal handler, then ours."""
    waiting, made = cycle(statuses), []

    class Function:
        def __init__(self, *_: object) -> None:
            made.append(Invoked(next(waiting)))
            self.invoked = made[-1]

        @contextmanager
        def start(self) -> Any:
            yield self.invoked

    monkeypatch.setattr(warm, "Function", Function)
    return made


def test_calls_are_compared_in_turns_and_the_first_tenth_is_left_out(subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "_STARTS", 2)
    made = answering(monkeypatch, 200, 200)
    seconds = cycle([90.0, 9.0] + [2.0, 2.2, 2.2, 2.0] * 4 + [2.0, 2.2])
    monkeypatch.setattr(warm, "_seconds", lambda invoked: invoked.ask() and next(seconds))
    result = calls(subject, rounds=20)
    assert result.compared == pytest.approx(1.1)
    assert result.runs == 18
    assert [each.asked for each in made] == [11] * 4


def test_a_call_that_fails_is_told(subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, 200, 503)
    with pytest.raises(MeasureError, match="a function did not answer"):
        calls(subject, rounds=1)


def test_the_group_has_each_of_its_bars_once(subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "OVERHEAD", printing([(1000, 2000)] * 3))
    monkeypatch.setattr(warm, "IMAGE", printing([(1, 2, 3, 4)] * 3))
    bound(monkeypatch)
    answering(monkeypatch, 200, 200)
    ticks: list[int] = []
    found = list(measure(subject, Options(calls=20, quick=True), lambda: ticks.append(1)))
    assert [(each.name, each.bar) for each in found] == [
        ("handler, 1x30 JSON", 12.0),
        ("bare handler, 1x30 JSON", None),
        ("handler, 32x30 JSON", 36.0),
        ("bare handler, 32x30 JSON", None),
        ("run, 1x30", None),
        ("image, binary", 0.5),
        ("image, JSON", 1.3),
        ("call", 1.05),
    ]
    assert len(ticks) == 5
