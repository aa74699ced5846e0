"""What a library says, as a person is told it."""

import pytest

from tools.modelctl.errors import first_line


@pytest.mark.parametrize(
    ("error", "line", "named"),
    [
        (ValueError("\n it broke\n  at line 3"), "it broke", "ValueError: it broke"),
        (RuntimeError(" \n"), "RuntimeError", "RuntimeError: no reason given"),
        (None, "None", "NoneType: None"),
    ],
)
def test_of_an_error_the_first_line_is_told_and_of_a_silent_one_its_type(error: Exception | None, line: str, named: str) -> None:
    assert (first_line(error), first_line(error, named=True)) == (line, named)
