"""Which way of opening a model is taken, from recorded and from made figures."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tools.modelctl.loading.choice import PLAIN, Figures, choose, settled, worth_compressing

CONVOLUTIONAL = {
    PLAIN: Figures(299.6, 86.2, 83_630),
    "external": Figures(185.6, 84.1, 83_160),
    "optimized, external": Figures(19.4, 101.4, 86_070),
    "optimized, external, not packed": Figures(11.1, 94.0, 85_470),
}
TRANSFORMER = {
    PLAIN: Figures(903.2, 224.9, 226_400),
    "external": Figures(395.0, 250.0, 229_000),
    "partly": Figures(288.5, 252.9, 238_000),
    "not packed": Figures(42.1, 289.7, 264_200),
}
TREE = {PLAIN: Figures(180.5, 1.0, 10), "optimized": Figures(162.8, 0.9, 10), "ort": Figures(148.9, 1.0, 10)}

times = st.floats(0.01, 10_000)
all_figures = st.lists(st.builds(Figures, times, times, times), min_size=1, max_size=8).map(
    lambda found: dict(zip([PLAIN, *"abcdefg"], found, strict=False))
)


@pytest.mark.parametrize(
    ("figures", "expected"),
    [(CONVOLUTIONAL, "optimized, external, not packed"), (TRANSFORMER, "partly"), (TREE, PLAIN)],
    ids=["convolutional", "transformer", "tree"],
)
def test_what_was_measured_of_a_real_model_chooses(figures: dict[str, Figures], expected: str) -> None:
    assert choose(figures) == expected


@given(all_figures)
def test_what_is_taken_runs_no_slower_than_promised_and_answers_sooner(figures: dict[str, Figures]) -> None:
    plain, taken = figures[PLAIN], figures[choose(figures)]
    assert taken.steady_us <= 1.1 * plain.steady_us
    assert taken == plain or taken.answered_ms <= plain.answered_ms - 4.7


@given(all_figures)
def test_nothing_that_runs_as_fast_answers_much_sooner_than_what_is_taken(figures: dict[str, Figures]) -> None:
    plain, taken = figures[PLAIN], figures[choose(figures)]
    allowed = [found.answered_ms for found in figures.values() if found.steady_us <= 1.05 * plain.steady_us]
    assert taken.answered_ms <= max(1.06 * min(allowed), min(allowed) + max(5.1, 0.21 * plain.answered_ms))


@given(all_figures)
def test_nothing_that_answers_as_soon_loads_much_faster_than_what_is_taken(figures: dict[str, Figures]) -> None:
    plain, taken = figures[PLAIN], figures[choose(figures)]
    assume(taken != plain)
    allowed = [found for found in figures.values() if found != plain and found.steady_us <= 1.05 * plain.steady_us]
    fastest = min((found.answered_ms for found in allowed), default=0.0)
    as_soon = [found.load_ms for found in allowed if found.answered_ms <= min(fastest, taken.answered_ms)]
    assert all(taken.load_ms <= max(1.06 * load_ms, load_ms + 2.1) for load_ms in as_soon)


def test_of_ways_that_answer_as_soon_but_for_noise_the_one_that_loads_fastest_is_taken() -> None:
    mapped, packed = Figures(10, 100, 100), Figures(20, 88, 100)
    assert choose({PLAIN: Figures(300, 80, 100), "packed": packed, "mapped": mapped}) == "mapped"
    assert choose({PLAIN: Figures(300, 80, 100), "packed": packed, "mapped": Figures(10, 110, 100)}) == "packed"


@pytest.mark.parametrize(("steady_us", "clear"), [(104.0, True), (108.5, False), (109.5, False), (112.0, True)])
def test_a_way_whose_runs_are_about_as_slow_as_allowed_is_measured_again(steady_us: float, clear: bool) -> None:
    figures = {PLAIN: Figures(900, 200, 100), "packed": Figures(400, 200, 100), "partly": Figures(250, 200, steady_us)}
    assert settled(figures) is clear
    assert settled(figures, insisted=True)


@given(all_figures, st.floats(0.991, 1.009))
def test_a_hundredth_more_or_less_does_not_flip_a_clear_choice(figures: dict[str, Figures], noise: float) -> None:
    """A way far ahead of all others in its first answer, and as fast in its runs."""
    plain = figures[PLAIN]
    assume(plain.answered_ms > 20 and all(found.answered_ms > 0.5 * plain.answered_ms for found in figures.values()))
    ahead = Figures(0.2 * plain.load_ms * noise, 0.2 * plain.first_ms * noise, plain.steady_us * noise)
    assert choose({**figures, "ahead": ahead}) == "ahead"


@given(all_figures)
def test_who_insists_gets_another_way_whatever_it_takes(figures: dict[str, Figures]) -> None:
    assert (choose(figures, insisted=True) == PLAIN) == (len(figures) == 1)


def test_of_ways_that_are_equally_fast_the_simplest_is_taken() -> None:
    assert choose({PLAIN: Figures(300, 80, 100), "external": Figures(20, 80, 100), "ort": Figures(19, 78, 100)}) == "external"


@pytest.mark.parametrize(
    ("size", "compressed", "expand_ms", "worth"),
    [
        (9_850_000, 1_250_000, 16.5, True),  # a forest of 100 trees
        (102_000_000, 94_000_000, 60, False),  # weights of a network: 1.1 times as small
        (300_000, 30_000, 0.5, False),  # 3 ms
        (9_850_000, 1_250_000, 105, False),  # as long as is saved
    ],
)
def test_a_file_is_compressed_where_it_is_there_sooner(size: int, compressed: int, expand_ms: float, worth: bool) -> None:
    assert worth_compressing(size, compressed, expand_ms) is worth
