"""A function's process is started by a script, as on AWS."""

import subprocess
import sys
from pathlib import Path

from tools.loopback.bootstrap import BOOTSTRAP, PROGRAM, arguments


def test_a_script_is_run_with_its_arguments_as_python_runs_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys\nif __name__ == '__main__':\n    print(*sys.argv)\n", "utf-8")
    line = [sys.executable, "-I", "-S", "-c", PROGRAM, str(script), "a", "b c"]
    assert subprocess.check_output(line, text=True) == f"{script} a b c\n"


def test_a_wrapper_is_given_the_command_line_that_it_stands_in_front_of() -> None:
    assert arguments(None) == (str(BOOTSTRAP),)
    assert arguments(Path("start.py")) == ("start.py", sys.executable, str(BOOTSTRAP))
