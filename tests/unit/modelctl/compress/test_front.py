"""Which results are worth a look, and their picture."""

from hypothesis import given
from hypothesis import strategies as st

from tools.modelctl.compress.front import Point, front, scatter


def point(method: str, size: int, drop: float, latency: float) -> Point:
    return Point(method=method, size=size, metric=1 - drop, drop=drop, latency=(latency,))


PARENT = point("parent", 100, 0, 50)


def test_who_is_beaten_in_all_three_is_not_on_it() -> None:
    smaller, worse = point("smaller", 25, 0.01, 25), point("worse", 30, 0.02, 40)
    assert front([PARENT, smaller, worse]) == {"parent", "smaller"}


def test_a_latency_within_the_noise_beats_nobody() -> None:
    assert front([PARENT, point("same", 100, 0, 49)]) == {"parent", "same"}
    assert front([PARENT, point("faster", 100, 0, 40)]) == {"faster"}
    assert front([PARENT, point("slower", 25, 0, 54)]) == {"slower"}


def test_one_that_is_slower_at_many_rows_beats_nobody_who_is_not() -> None:
    quick, slow = (Point(method=name, size=25, metric=1, drop=0, latency=(25, many)) for name, many in (("quick", 50), ("slow", 90)))
    assert front([slow, quick]) == {"quick"}
    smaller = Point(method="smaller", size=20, metric=1, drop=0, latency=(25, 90))
    assert front([smaller, quick]) == {"smaller", "quick"}


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=8))
def test_the_smallest_of_the_best_is_always_on_it(found: list[tuple[int, int, int]]) -> None:
    points = [point(str(place), size, drop, latency * 100) for place, (size, drop, latency) in enumerate(found)]
    chosen = front(points)
    best = min(points, key=lambda each: (each.size, each.drop, each.latency_us))
    assert best.method in chosen
    for each in points:
        assert each.method in chosen or any(other.size <= each.size and other.drop <= each.drop for other in points if other is not each)


def test_the_picture_has_each_point_where_it_belongs() -> None:
    points = [PARENT, point("smaller", 20, 0.1, 25), point("worse", 60, 0.2, 50)]
    lines = scatter(points, {"parent", "smaller"}, lambda each: each.size, x="kB", y="accuracy")
    assert lines[1].startswith("         1│")
    assert lines[1].endswith("●")
    assert "● smaller" in lines[5] or "● smaller" in lines[6]
    assert lines[10].startswith("       0.8│")
    assert "○ worse" in lines[10]
    assert lines[-1].split() == ["20", "100", "kB"]


def test_the_picture_of_equals_has_one_number() -> None:
    lines = scatter([PARENT, point("same", 100, 0, 50)], (), lambda each: each.size, x="kB", y="accuracy")
    assert sum("1│" in line for line in lines) == 1
