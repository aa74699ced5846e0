"""What stands out in a cold start."""

import pytest

from tools.modelctl.trace.advice import before_handler, hints, largest

from .traces import MAIN, OTHER, binding, native, written


def test_a_start_in_which_nothing_stands_out_is_given_no_advice():
    assert hints(native()) == []


def test_the_binding_is_named_where_numpy_is_imported():
    (hint,) = hints(binding())

    assert "numpy is imported, 69 ms" in hint
    assert "session_backend" in hint


def test_a_model_that_takes_long_to_open_is_told_how_it_may_open_faster():
    (hint,) = hints(native(session=600))

    assert "opening the model is 90%" in hint
    assert "[loading]" in hint


def test_a_model_that_takes_long_to_come_is_told_what_makes_it_come_faster():
    (hint,) = hints(native(transfer=600))

    assert "the transfer is 90%" in hint


def test_a_transfer_over_several_connections_is_counted_once():
    trace = written(
        ("session", "", 0, 100, MAIN), ("request", "s3 GET a", 0, 30, OTHER), ("request", "s3 GET b", 10, 40, OTHER + 1), end=100
    )

    (hint,) = (hint for hint in hints(trace) if "transfer" in hint)
    assert "the transfer is 40%" in hint


def test_the_largest_come_first_and_waiting_is_none():
    assert [row.label for row in largest(native(transfer=600, session=30))] == ["session", "import awslambdaric", "import modelserve"]


def test_what_every_function_pays_is_told():
    assert before_handler(binding()) == pytest.approx(35)
