"""Programs that are measured."""

import os
import subprocess
import sys
from typing import Any

import pytest

from tools.bench.processes import command, on_one_core, output
from tools.loopback.errors import MeasureError


def run(subject: Any, program: str, *arguments: str) -> Any:
    return output(command(subject.root, program, *arguments), root=subject.root, environ=subject.environ)


def test_a_program_prints_json_of_what_it_is_given(bare_subject: Any) -> None:
    assert run(bare_subject, "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ['BENCH']]))", "a", "b") == [["a", "b"], "1"]


def test_a_program_that_fails_fails_the_bench_with_its_own_words(bare_subject: Any) -> None:
    with pytest.raises(MeasureError, match="no such model"):
        run(bare_subject, "raise SystemExit('no such model')")


def test_programs_see_the_images_folders_and_no_others(bare_subject: Any) -> None:
    with pytest.raises(MeasureError) as raised:
        run(bare_subject, "import sys; raise SystemExit(' '.join(sys.path))")
    assert str(bare_subject.root.folder) in str(raised.value)
    assert "site-packages" not in str(raised.value)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores can't be chosen here")
def test_on_one_core_is_whatever_is_started_meanwhile_and_nothing_later() -> None:
    program = [sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)))"]
    before = os.sched_getaffinity(0)
    with on_one_core():
        assert subprocess.run(program, capture_output=True, check=True).stdout == b"1\n"
    assert os.sched_getaffinity(0) == before
