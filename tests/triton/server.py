"""A real `tritonserver` with SageMaker's front end in multi-model mode, as NVIDIA's container starts it, on this machine's CPU."""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from stacks.triton import OF_SEVERAL
from tests.triton.confined import PORT
from tests.triton.environment import CONFINE, Environment, Unavailable

__all__ = ["TritonServer"]

_CONFINED = Path(__file__).with_name("confined.py")
_OWN_MEMORY = ("sh", "-c", 'mount -t tmpfs tmpfs /dev/shm && exec "$@"', "sh")
"""What a backend that was killed leaves in shared memory goes with it."""
_VERSION = re.compile(r"server_version\s*\|\s*(\S+)")
_START_SECONDS = 30
_PATIENCE = 60  # seconds, as SageMaker has it for an invocation
_LAST_LINES = 20


class TritonServer:
    """Started on entry; on exit it and all that it started is gone. `log` is what it wrote."""

    def __init__(self, environment: Environment, variables: Mapping[str, str] = OF_SEVERAL) -> None:
        """`variables` are what the stack tells the container. Raises `Unavailable` on entry."""
        self._environment = environment
        self._variables = variables

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="triton-"))
        self.log = self.folder / "log"
        (self.folder / "repository").mkdir()
        command = [*CONFINE, *_OWN_MEMORY, str(self._environment.folder / "bin" / "python"), "-I", str(_CONFINED), str(self._door)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *self._command()],
                env={**self._environment.variables(), **self._variables},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._await_ping()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # the kernel ends the namespace's processes with it
        assert self._process.stdin is not None  # as asked for
        self._process.stdin.close()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> tuple[int, str, bytes]:
        """Status, content type and body. Raises `OSError` or `http.client.HTTPException` when the server is gone."""
        connection = _Connection(self._door)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.headers.get("Content-Type", ""), response.read()
        finally:
            connection.close()

    @property
    def version(self) -> str:
        """As it told it."""
        found = _VERSION.search(self.log.read_text(errors="replace"))
        return found[1] if found else "of unknown version"

    @property
    def alive(self) -> bool:
        """Whether its process is."""
        return self._process.poll() is None

    @property
    def _door(self) -> Path:
        return self.folder / "door"

    def _command(self) -> list[str]:
        return [
            str(self._environment.triton / "bin" / "tritonserver"),
            *(f"--allow-{front}=false" for front in ("http", "grpc", "metrics")),
            "--allow-sagemaker=true",
            f"--log-verbose={self._variables.get('SAGEMAKER_TRITON_LOG_VERBOSE', 'true')}",  # as its container does
            f"--sagemaker-port={PORT}",
            "--model-control-mode=explicit",
            "--model-namespacing=true",
            f"--model-repository={self.folder / 'repository'}",
            f"--backend-directory={self._environment.triton / 'backends'}",
        ]

    def _await_ping(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while self.alive and time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/ping")[0] == 200:
                    return
            time.sleep(0.05)
        written = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        raise Unavailable("\n".join(["tritonserver does not answer; its log ends with", *written]), f"a /ping within {_START_SECONDS} s")


class _Connection(http.client.HTTPConnection):
    """HTTP through the door."""

    def __init__(self, door: Path) -> None:
        super().__init__("localhost", timeout=_PATIENCE)
        self._path = str(door)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
