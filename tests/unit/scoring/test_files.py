"""Many small files at once."""

from __future__ import annotations

import threading

import pytest

from scoring.files import together


def test_as_many_as_are_asked_for_are_made_at_once_in_order():
    barrier = threading.Barrier(4, timeout=10)

    def made(number):
        barrier.wait()
        return number * 2

    assert list(together(made, range(8), threads=4)) == [0, 2, 4, 6, 8, 10, 12, 14]


def test_no_more_are_begun_than_are_asked_for():
    begun: list[int] = []
    found = together(begun.append, range(100), threads=4)
    next(found)
    assert len(begun) <= 5


def test_what_one_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(together(lambda number: 1 // number, [1, 0, 1], threads=2))
