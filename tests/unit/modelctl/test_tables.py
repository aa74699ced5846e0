"""What the terminal shows of a version: nothing is cut, and nothing is claimed that nobody judged."""

from collections import Counter
from typing import Any

import pytest
from rich.console import Console, RenderableType

from modelserve.manifest import GateResult, Lineage, Manifest, Parity
from modelserve.record import replace
from tests.unit.modelctl.factories import draft
from tools.modelctl import console, tables
from tools.modelctl.console import table
from tools.modelctl.scorecard import scorecard

PARENT = "20261120T174100Z-1a2b3c4d"
GATES = (
    "calibration_error <= production + 0.0123456",
    "precision_micro >= production - 0.005",
    "recall[a class whose name is rather long] >= 0.95",
)
WIDE = 400


def version(**fields: Any) -> Manifest:
    gates = tuple(GateResult(gate=gate, value=0.91234, passed=True) for gate in GATES)
    return replace(draft(), version=PARENT, gates=gates, metrics={"accuracy": 0.9}, **fields)


def made_by(transform: str | None, *, passed: bool = True) -> Manifest:
    parity = Parity(rows=450, disagreement=0.0133, largest_difference=0.012, passed=passed)
    lineage = Lineage(framework="scikit-learn", parent=PARENT if transform else None, transform=transform, forced=None)
    return version(parity=parity, lineage=lineage)


def evaluation(classes: int) -> dict[str, Any]:
    intervals = {name: {"value": 0.91234, "low": 0.89123, "high": 0.93123} for name in ("accuracy", "calibration_error", "precision_micro")}
    counts = [[1234 if row == column else 23 for column in range(classes)] for row in range(classes)]
    scores = {"accuracy": 0.9, "precision": 0.9, "recall": 0.9, "f1": 0.9}
    return {
        "data": {"rows": 400, "held_out": 100},
        "metrics": intervals,
        "confusion": {"names": [f"class {index}" for index in range(classes)], "counts": counts},
        "residuals": {"quantiles": {f"{share}": -1.2345e-5 for share in (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)}},
        "slices": [{"column": "a_column_with_a_name", "value": "1.23e+05 to 4.56e+05", "rows": 9, "metrics": scores}],
    }


def shown(part: RenderableType, width: int = WIDE) -> str:
    terminal = Console(width=width, highlight=False, markup=False)
    with terminal.capture() as capture:
        terminal.print(part)
    return capture.get()


def stored() -> list[RenderableType]:
    """Tables of what is in a store."""
    listed = table("=model", ">versions", "=latest", "aliases")
    listed.add_row("a" * 48, "3", PARENT, "production")
    return [listed, tables.metrics(made_by("static-int8")), tables.summary(made_by("static-int8")), tables.versions([version()], {})]


@pytest.mark.parametrize("classes", [4, 10, 12])
def test_nothing_is_cut_at_80_columns(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.out, "width", 80)
    for part in [*stored(), *scorecard(made_by(None), evaluation(classes))]:
        narrow = shown(part, 80)
        assert max(map(len, narrow.splitlines())) <= 80
        assert Counter("".join(narrow.split())) == Counter("".join(shown(part).split()))


def test_a_number_is_whole_where_there_is_room_for_it() -> None:
    found = shown(next(iter(scorecard(version(), evaluation(2)))), 80)
    assert found.count("0.9123  0.891 to 0.931") == 3
    assert "at promote" in found


@pytest.mark.parametrize(
    ("task", "why"),
    [
        ("regression", "it had no rows with a known answer"),
        ("custom", "a custom model has no metrics"),
        ("clustering", "its metrics aren't defined for the held-out rows"),
    ],
)
def test_a_model_that_nothing_scored_says_why(task: str, why: str) -> None:
    unscored = replace(draft(), task=task)
    (line,) = scorecard(unscored, {"data": {"rows": 80, "held_out": 20}})
    assert shown(line) == f"20 of 80 rows held out; it was not scored: {why}\n"


def test_what_was_trained_elsewhere_may_know_the_rows_it_is_scored_on() -> None:
    found = evaluation(2)
    found["data"]["elsewhere"] = True
    scored, unscored = (next(iter(scorecard(each, found))) for each in (version(), replace(draft(), task="custom")))
    assert shown(scored).splitlines()[0].rstrip() == "trained elsewhere; scored on 100 of 400 rows, which it may know"
    assert shown(unscored) == "trained elsewhere; compared on 100 of 400 rows; it was not scored: a custom model has no metrics\n"


@pytest.mark.parametrize(("classes", "width", "there"), [(6, 80, True), (12, 80, False), (12, 120, True), (13, WIDE, False)])
def test_a_matrix_that_does_not_fit_is_left_out(classes: int, width: int, there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.out, "width", width)
    titles = [getattr(part, "title", None) for part in scorecard(version(), evaluation(classes))]
    assert ("Confusion" in titles) == there


def test_a_matrix_says_which_way_its_classes_are_true_and_which_way_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.out, "width", 80)
    matrix = next(part for part in scorecard(version(), evaluation(6)) if getattr(part, "title", None) == "Confusion")
    _, corner, below, *_ = shown(matrix, 80).splitlines()
    assert corner.startswith("true ↓")
    assert below.startswith("answered →  ")


@pytest.mark.parametrize(
    ("manifest", "said", "verdict"),
    [
        (made_by(None), "differs by 1.33% of 450 labels, numbers by up to 0.01", "passed"),
        (made_by("opset 21, IR 10"), "differs by 1.33% of 450 labels, numbers by up to 0.01", "passed"),
        (made_by("IR 10"), "differs by 1.33% of 450 labels, numbers by up to 0.01", "passed"),
        (made_by("static-int8"), "differs from its parent by 1.33% of 450 labels, numbers by up to 0.01", ""),
        (made_by("static-int8", passed=False), "differs by 1.33% of 450 labels, numbers by up to 0.01", "failed"),
    ],
)
def test_a_compressed_version_differs_and_nobody_judged_by_how_much(manifest: Manifest, said: str, verdict: str) -> None:
    found = tables.parity(manifest)
    assert found is not None
    assert (found[0], found[1].plain) == (said, verdict)


def test_an_answer_without_labels_differs_in_numbers_alone() -> None:
    manifest = made_by(None)
    found = tables.parity(replace(manifest, outputs=(replace(manifest.outputs[0], name="prediction"),)))
    assert found is not None
    assert found[0] == "differs by up to 0.01 in numbers of 450 rows"


def test_a_version_says_what_it_was_made_from() -> None:
    rows = [line.rstrip() for line in shown(tables.summary(made_by("static-int8"))).splitlines()]
    assert f"made from  {PARENT}" in rows
    assert "by         static-int8" in rows
    assert "made from" not in shown(tables.summary(made_by(None)))
    forced = version(lineage=Lineage(framework="", forced="only a demo"))
    assert "forced   only a demo" in shown(tables.summary(forced))
