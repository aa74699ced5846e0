"""A measured process, and all that it started."""

import sys
import time
from pathlib import Path
from threading import active_count

import psutil
import pytest

from tools.loopback import processes
from tools.loopback.errors import MeasureError
from tools.loopback.processes import started


def test_a_process_ends_with_what_it_started(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(60)']); time.sleep(60)"
    )
    with started([sys.executable, "-I", "-S", "-c", program], cwd=tmp_path, environ={}) as running:
        while not running.process.children():
            time.sleep(0.005)
        child, alone = running.process.children()[0], processes._kibibytes(Path(f"/proc/{running.process.pid}/status"), "VmHWM:")
        assert running.memory().peak > 1024 * alone
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_what_it_has_written_stands_beside_an_error_of_more_than_a_pipe_holds_the_end(tmp_path: Path) -> None:
    program = f"import os; os.write(2, b'x' * {3 * processes._PIPE}); os.write(1, b'the end'); open('done', 'w')"

    def unanswered() -> None:
        with started([sys.executable, "-I", "-S", "-c", program], cwd=tmp_path, environ={}):
            deadline = time.monotonic() + 20
            while not (tmp_path / "done").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            raise MeasureError("no answer")

    with pytest.raises(MeasureError, match=r"^no answer; its output:\nx+the end$") as refused:
        unanswered()
    assert len(str(refused.value)) < 2 * processes._SHOWN


def test_a_process_leaves_no_descriptor_and_no_thread_behind(tmp_path: Path) -> None:
    own, threads = psutil.Process(), active_count()
    for _ in range(2):
        held = own.num_fds()
        with started([sys.executable, "-I", "-S", "-c", ""], cwd=tmp_path, environ={}):
            pass
    assert own.num_fds() == held
    assert active_count() == threads
