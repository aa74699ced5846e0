"""`make run` as its user meets it: the last line is a call that works, Ctrl-C leaves nothing, the README shows what is printed."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tools.modelctl.paths import LOCAL_DEPLOYMENT

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.xdist_group("local"), pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program")]
_STEP = re.compile(r"^✓ ([a-z ]+?)  +[0-9.]+ s", re.MULTILINE)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(command: str, port: int) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "tools.local", command, "--port", str(port)]
    return subprocess.Popen(
        line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "COLUMNS": "80"}
    )


@pytest.fixture
def running() -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The process of `make run`, and the lines that it printed until it was ready."""
    process = start("run", free_port())
    lines: list[str] = []
    try:
        assert process.stdout is not None  # it is a pipe
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith("curl "):
                break
        yield process, lines
    finally:
        process.kill()
        process.communicate()


def test_the_last_line_is_a_call_that_works_and_ctrl_c_ends_everything(running: tuple[subprocess.Popen[str], list[str]]) -> None:
    process, lines = running
    assert lines[-1].startswith("curl "), "\n".join(lines)
    curl = ["curl", "--silent", "--show-error", *shlex.split(lines[-1])[1:]]
    assert json.loads(subprocess.check_output(curl, text=True))["outputs"]
    (key,) = [part for part in curl if part.startswith("Authorization: Bearer sox.local.")]
    curl.remove(key)
    curl.remove("-H")
    assert "Authorization: Bearer" in json.loads(subprocess.check_output(curl, text=True))["error"]
    assert LOCAL_DEPLOYMENT.stat().st_mode & 0o777 == 0o600
    assert json.loads(LOCAL_DEPLOYMENT.read_text())["key"] == key.removeprefix("Authorization: Bearer ")

    family = psutil.Process(process.pid).children(recursive=True)
    assert any("aws-lambda-rie" in part for child in family for part in child.cmdline())
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    assert psutil.wait_procs(family, timeout=10)[1] == []


@pytest.mark.slow
def test_demo_prints_the_steps_that_the_readme_shows_and_ends_by_itself_after_the_answer() -> None:
    process = start("demo", free_port())
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert output.splitlines()[-1].startswith("curl ")
    assert _STEP.findall(output) == _STEP.findall((ROOT / "README.md").read_text("utf-8"))


def test_a_port_that_is_taken_is_said_before_anything_is_started() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = start("demo", taken.getsockname()[1])
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "PORT=" in output
    assert "✓" not in output
