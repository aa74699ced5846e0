"""Lambda's wrapper script: what it begins, and that the runtime starts as it would without it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
START = ROOT / "functions" / "predict" / "start.py"
BOOTSTRAP = """
import json, os, sys
def annotated(x: 1): ...
print(json.dumps({"argv": sys.argv, "path": sys.path[0], "name": __name__, "file": __file__, "globals": sorted(globals()),
                  "kind": str(annotated.__annotations__),
                  "begun": "functions.predict.ahead" in sys.modules}))
"""


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A bootstrap.py that tells how it was started, beside a task root."""
    (tmp_path / "runtime").mkdir()
    found = tmp_path / "runtime" / "bootstrap.py"
    found.write_text(BOOTSTRAP, "utf-8")
    return found


def started(runtime: Path, *line: str, ahead: str = "", **environ: str) -> str:
    task = runtime.parents[1] / "task"
    (task / "functions" / "predict").mkdir(parents=True, exist_ok=True)
    (task / "functions" / "predict" / "ahead.py").write_text(ahead, "utf-8")
    variables = {"LAMBDA_TASK_ROOT": str(task), **environ}
    words = [sys.executable, str(START), sys.executable, *(line or (str(runtime),))]
    done = subprocess.run(words, env=variables, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_the_runtime_starts_as_without_a_wrapper_with_what_a_cold_start_waits_for_begun(runtime):
    told = json.loads(started(runtime))
    alone = json.loads(subprocess.check_output([sys.executable, str(runtime)], text=True))

    assert told.pop("begun") is not alone.pop("begun")
    assert set(alone.pop("globals")) >= set(told.pop("globals"))
    assert (
        told == alone == {"argv": [str(runtime)], "path": str(runtime.parent), "name": "__main__", "file": str(runtime), "kind": "{'x': 1}"}
    )


def test_what_has_begun_finds_the_function_while_the_runtime_starts(runtime):
    (runtime.parents[1] / "task").mkdir()
    (runtime.parents[1] / "task" / "later.py").write_text("", "utf-8")
    runtime.write_text("import functions.predict.ahead as ahead\nahead.thread.join()\nprint(ahead.found)\n", "utf-8")
    ahead = """
import threading, sys
found = []
def late():
    while sys.argv[-1] != sys.argv[0]:  # until it is the runtime's script
        pass
    try:
        import later
    except ImportError as error:
        found.append(error)
thread = threading.Thread(target=late)
thread.start()
"""
    assert started(runtime, ahead=ahead) == "[]\n"


def test_what_can_not_be_begun_is_left_to_the_handler_and_the_runtime_starts(runtime):
    assert json.loads(started(runtime, ahead="raise ValueError('MODEL_NAME is not set')"))["begun"] is False


@pytest.mark.parametrize("line", [("-c", "print('as it was')"), ("-c", "import sys; print(' '.join(sys.argv[1:]))", "as", "it", "was")])
def test_a_command_line_that_is_not_one_script_is_run_as_it_is(runtime, line):
    assert started(runtime, *line, ahead="raise SystemExit(1)") == "as it was\n"


def test_a_runtime_that_forks_begins_nothing_before(runtime):
    """No thread and no connection outlives a fork."""
    assert json.loads(started(runtime, AWS_LAMBDA_MAX_CONCURRENCY="4"))["begun"] is False


def test_it_is_a_script_that_the_base_image_can_run():
    assert os.access(START, os.X_OK)
    assert START.read_text("utf-8").startswith("#!/var/lang/bin/python3\n")
    named = re.findall(r"^ENV AWS_LAMBDA_EXEC_WRAPPER=/var/task/(\S+)$", START.with_name("Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert [ROOT / name for name in named] == [START]
