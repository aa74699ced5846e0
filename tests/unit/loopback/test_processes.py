"""A measured process, and all that it started."""

import sys
import time
from pathlib import Path

import psutil

from tools.loopback import processes
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
