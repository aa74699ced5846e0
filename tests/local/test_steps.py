"""What a step says of itself once it is done."""

from __future__ import annotations

import io
import re

from rich.console import Console

from tools.local.steps import Steps


def test_what_began_beside_other_steps_counts_from_its_own_beginning() -> None:
    written = io.StringIO()
    with Steps(Console(file=written))("models") as step:
        step.began -= 60
    assert re.search(r"✓ models +6\d\.\d s", written.getvalue())
