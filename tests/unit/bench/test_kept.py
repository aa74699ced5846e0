"""Results that were kept, on recorded ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.bench.test_measures import a_result
from tools.bench.kept import Kept, Moved, compare
from tools.bench.measures import Result
from tools.loopback.errors import MeasureError

MACHINE: dict[str, str | int] = {"processor": "a processor", "cores": 2}


def kept(*results: Any, **machine: Any) -> Kept:
    return Kept("2026-11-22", {**MACHINE, **machine}, results)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    before = kept(a_result(), a_result(name="handler", goal=0.5, ratio=False))
    before.write(tmp_path / "bench.json")
    assert Kept.load(tmp_path / "bench.json") == before


def test_results_without_notes_are_read() -> None:
    document = a_result().to_dict()
    del document["notes"]
    assert Result.from_dict(document) == a_result()


def test_numbers_are_kept_to_four_digits() -> None:
    (document,) = kept(a_result(ours=123.456789, spread=(1.123456, 1.3))).to_dict()["results"]
    assert (document["ours"], document["spread"]) == (123.5, (1.123, 1.3))


def test_without_a_file_nothing_was_kept(tmp_path: Path) -> None:
    assert Kept.load(tmp_path / "bench.json") is None


@pytest.mark.parametrize("text", ["[]", "{", '{"date": "", "machine": {}, "results": [{"name": "x"}]}'])
def test_a_file_of_another_kind_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "bench.json").write_text(text, "utf-8")
    with pytest.raises(MeasureError, match=r"bench\.json is not what --keep writes"):
        Kept.load(tmp_path / "bench.json")


@pytest.mark.parametrize(
    ("now", "moved"),
    [
        ({"compared": 1.25, "spread": (1.2, 1.3)}, None),  # the quartiles have something in common
        ({"compared": 1.4, "spread": (1.35, 1.5)}, True),
        ({"compared": 1.0, "spread": (0.9, 1.05)}, False),
    ],
)
def test_what_moved_is_what_lies_beyond_both_spreads(now: dict[str, Any], moved: bool | None) -> None:
    found = compare([a_result()], [a_result(**now)])
    assert [each.worse for each in found] == ([] if moved is None else [moved])


def test_one_value_moves_by_more_than_a_hair() -> None:
    before, hair, more = (a_result(compared=value, spread=(value, value)) for value in (1.0, 1.02, 1.05))
    assert compare([before], [hair]) == []
    assert compare([before], [more]) == [Moved("load", 1.0, 1.05)]


def test_only_what_is_compared_with_the_same_is_compared() -> None:
    worse = a_result(compared=9.0, spread=(9.0, 9.0))
    assert compare([a_result()], [worse]) == [Moved("load", 1.2, 9.0)]
    assert compare([a_result()], [replace(worse, comparison="another floor")]) == []
    assert compare([a_result()], [replace(worse, notes={"load": "of another model"})]) == []
    assert compare([a_result()], [replace(worse, name="new")]) == []


def test_a_group_that_was_measured_again_takes_the_place_of_the_older() -> None:
    before = kept(a_result(name="old"), a_result(name="gone"), a_result(name="stays", group="batch"))
    now = replace(kept(a_result(name="new")), date="2026-12-01")
    both = before.taking(now)
    assert ([each.name for each in both.results], both.date) == (["new", "stays"], "2026-12-01")


def test_groups_of_two_machines_are_not_kept_together() -> None:
    before = kept(a_result(), a_result(name="stays", group="batch"))
    with pytest.raises(MeasureError, match=r"cores: 2, now 4.*measure batch here too"):
        before.taking(kept(a_result(), cores=4))
    everything = kept(a_result(), a_result(name="new", group="batch"), cores=4)
    assert before.taking(everything) == everything
