"""One execution environment: AWS's Runtime Interface Emulator and the function's process behind it."""

from __future__ import annotations

import contextlib
import http.client
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import psutil
import samcli

from tools.local import interpreter
from tools.local.errors import LocalError
from tools.local.functions import Function
from tools.local.roots import TaskRoot
from tools.loopback import bootstrap

__all__ = ["Emulator", "Lost"]

_MACHINES = {"x86_64": "x86_64", "aarch64": "arm64"}
_PATH = "/2015-03-31/functions/function/invocations"
_TETHER = Path(__file__).with_name("tether.py")
_START_SECONDS = 15
_PATIENCE = 20
"""Seconds beyond the function's timeout, which the emulator enforces itself."""


class Lost(Exception):
    """The emulator itself is gone; the environment can't be used again."""


class Emulator:
    """Answers one request at a time; the function's process starts at the first, as the emulator does it.

    `/tmp` is a folder of its own through TMPDIR; its size is not enforced.
    """

    def __init__(self, function: Function, root: TaskRoot, services: Mapping[str, str], *, scratch: Path, log: IO[bytes]) -> None:
        self.memory = function.memory
        self._tmp = Path(tempfile.mkdtemp(dir=scratch))
        self._runtime: psutil.Process | None = None
        self._process, port = _start(function, root, {**services, "TMPDIR": str(self._tmp)}, log)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=function.timeout + _PATIENCE)

    def invoke(self, payload: bytes, trace_id: str) -> tuple[int, bytes]:
        """The emulator's status and body. Raises `Lost`."""
        try:
            self._connection.request("POST", _PATH, payload, {"Content-Type": "application/json", "X-Amzn-Trace-Id": trace_id})
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Lost(str(error)) from error

    def used_memory(self) -> int:
        """Resident bytes of the function's process; of what that starts in turn nothing is counted."""
        try:
            if self._runtime is None or not self._runtime.is_running():
                self._runtime = next(iter(psutil.Process(self._process.pid).children()), None)
            return self._runtime.memory_info().rss if self._runtime else 0
        except psutil.NoSuchProcess:
            return 0

    def kill_function(self) -> None:
        """As the operating system does to a process over its memory; the emulator reports it."""
        if self._runtime:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._runtime.kill()

    def close(self) -> None:
        """Ends the emulator and everything it started, and removes its /tmp."""
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self._process.pid).children(recursive=True)
            self._process.terminate()
            psutil.wait_procs(family, timeout=2)
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.kill()
        self._process.wait()
        self._connection.close()
        shutil.rmtree(self._tmp, ignore_errors=True)


def _start(function: Function, root: TaskRoot, services: Mapping[str, str], log: IO[bytes]) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(3):
        api, port = _free_ports()
        process = subprocess.Popen(
            [*_tether(), *_emulator(api, port), *_bootstrap(root, function)],
            cwd=root.folder,
            env=_environment(function, root, services),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        if _listens(process, port):
            return process, port
        process.kill()  # somebody else took a port meanwhile
        process.wait()
    raise LocalError(f"the Lambda Runtime Interface Emulator does not start for {function.name}; its output is in {log.name}")


def _tether() -> list[str]:
    return [sys.executable, "-I", "-S", str(_TETHER), str(psutil.Process().pid)]


def _emulator(api: int, port: int) -> list[str]:
    binary = Path(samcli.__file__).parent / "local" / "rapid" / f"aws-lambda-rie-{_MACHINES[platform.machine()]}"
    addresses = ["--runtime-api-address", f"127.0.0.1:{api}", "--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
    return [str(binary), "--log-level", "error", *addresses]


def _bootstrap(root: TaskRoot, function: Function) -> list[str]:
    handler = function.handler or root.handler
    # The emulator takes its last argument for the handler's name (_HANDLER).
    return [
        *interpreter.command(["-c", bootstrap.PROGRAM, *bootstrap.arguments(root.wrapper)], before=root.before, after=root.after),
        handler,
    ]


def _environment(function: Function, root: TaskRoot, services: Mapping[str, str]) -> dict[str, str]:
    """What Lambda sets, what the image sets, what the stack sets; later wins."""
    runtime = {"AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}"} if function.runtime else {}
    return {
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function.timeout),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "LAMBDA_TASK_ROOT": str(root.folder),
        "LANG": "en_US.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "TZ": ":UTC",
        **runtime,
        **services,
        **root.environment,
        **function.environment,
    }


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Looks at the process, not at the port: another environment may have been given the same one."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(psutil.Error):
            connections = psutil.Process(process.pid).net_connections("tcp4")
            if any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections):
                return True
        time.sleep(0.005)
    return False
