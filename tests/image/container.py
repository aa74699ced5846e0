"""One execution environment as Lambda makes it: the image behind AWS's emulator, read-only, within its memory and one CPU."""

from __future__ import annotations

import contextlib
import http.client
import json
import platform
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import samcli

from tests.image.docker import ImageError, run
from tests.image.image import Image
from tools.local.assembly import REGION
from tools.local.cloud import CREDENTIALS
from tools.local.functions import Function

__all__ = ["TMP_MB", "Container", "arguments"]

TMP_MB = 512
"""Lambda's /tmp, unless a model asks for more."""
_EMULATOR = "/emulator"
_USER = "993:990"  # nobody of the image's, as on Lambda
_PATH = "/2015-03-31/functions/function/invocations"
_START_SECONDS = 20
_PEAK = "cat /sys/fs/cgroup/memory.peak 2>/dev/null || cat /sys/fs/cgroup/memory/memory.max_usage_in_bytes"
_LARGEST = "grep -h VmHWM /proc/[0-9]*/status"
_LIMITS = """
cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes
df --block-size=1 --output=size /tmp | tail -1
id -u
grep -h -E 'CapEff|NoNewPrivs' /proc/self/status | cut -f 2
grep ' / ' /proc/mounts | tail -1 | cut -d ' ' -f 4 | cut -d , -f 1
"""


class Container:
    """Started on entry, removed on exit."""

    def __init__(self, image: Image, function: Function, endpoint_url: str) -> None:
        self._function = function
        runtime_api, self._port = _free_ports()
        self._line = arguments(image, function, services(endpoint_url), runtime_api=runtime_api, port=self._port)
        self._id = ""

    def __enter__(self) -> Self:
        self._id = run(*self._line)
        try:
            self._await_port()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        run("docker", "rm", "--force", self._id)

    def predict(self, body: bytes) -> tuple[float, dict[str, Any]]:
        """Seconds until the answer, and the answer. Raises `ImageError` for any but a 200, with the container's log."""
        path = f"/v2/models/{self._function.environment['MODEL_NAME']}/infer"
        event = {"httpMethod": "POST", "path": path, "headers": {"Content-Type": "application/json"}, "body": body.decode()}
        seconds, text = self.invoke(event)
        return seconds, self._read(text)

    def invoke(self, event: Mapping[str, Any]) -> tuple[float, bytes]:
        """Seconds until the function answered, and what. Raises `ImageError` where it doesn't."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._function.timeout + 20)
        begun = time.perf_counter()
        try:
            connection.request("POST", _PATH, json.dumps(event).encode(), {"Content-Type": "application/json"})
            text = connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            raise self._failure(f"did not answer: {error}") from None
        finally:
            connection.close()
        return time.perf_counter() - begun, text

    def check_limits(self) -> None:
        """Raises `ImageError` when this machine does not enforce what `arguments` asked for."""
        found = self._inside(_LIMITS).split()
        limits = [str(self._function.memory * 2**20), str(TMP_MB * 2**20), _USER.partition(":")[0], "0" * 16, "1", "ro"]
        if found != limits:
            raise self._failure(f"has the limits {found}, expected {limits} (memory, /tmp, user, capabilities, no new privileges, files)")

    def peak_memory(self) -> tuple[int, int]:
        """Bytes at most: charged to the container, and resident in its largest process.

        The latter counts the pages of the image's files, which are charged to the first container that reads them.
        """
        largest = max(int(line.split()[1]) for line in self._inside(_LARGEST).splitlines())
        return int(self._inside(_PEAK)), largest * 1024

    def check_traces(self) -> None:
        """Raises `ImageError` when anything was written that stays, or the container is not as it was started."""
        if left := self._inside("ls -A /tmp"):
            raise self._failure(f"left in /tmp: {left}")
        if changed := run("docker", "diff", self._id):
            written = [line for line in changed.splitlines() if line.split()[1] not in {"/tmp", _EMULATOR}]  # the mount points
            if written:
                raise self._failure(f"wrote outside /tmp: {written}")
        state = json.loads(run("docker", "inspect", "--format", "{{json .State}}", self._id))
        if state["OOMKilled"] or not state["Running"]:
            raise self._failure(f"is {state}")

    def _read(self, text: bytes) -> dict[str, Any]:
        """A function that was killed is answered for by the emulator, in words."""
        with contextlib.suppress(ValueError):
            answer = json.loads(text)
            if isinstance(answer, dict) and answer.get("statusCode") == 200:
                document: dict[str, Any] = json.loads(answer["body"])
                return document
        raise self._failure(f"answered {text.decode(errors='replace')!r}")

    def _inside(self, command: str) -> str:
        return run("docker", "exec", self._id, "sh", "-c", command)

    def _await_port(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
                return
            time.sleep(0.02)
        raise self._failure(f"did not listen within {_START_SECONDS} s")

    def _failure(self, what: str) -> ImageError:
        return ImageError(f"the container of {self._function.name} {what}\nits log:\n{run('docker', 'logs', self._id)}")


def services(endpoint_url: str) -> dict[str, str]:
    """The variables that lead to AWS, as Lambda sets them for a role."""
    return {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint_url, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}


def arguments(image: Image, function: Function, services: Mapping[str, str], *, runtime_api: int, port: int) -> list[str]:
    """The `docker run` that limits a container as Lambda does: what CloudFormation says of the function, and nothing more."""
    command: Sequence[str] = (function.handler,) if function.handler else image.command
    environment = {
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function.timeout),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        **services,
        **function.environment,
    }
    return [
        *("docker", "run", "--detach", "--network", "host", "--user", _USER),
        *("--read-only", "--tmpfs", f"/tmp:rw,mode=1777,size={TMP_MB}m", "--cpus", "1"),
        *("--memory", f"{function.memory}m", "--memory-swap", f"{function.memory}m"),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "1024", "--ulimit", "nofile=1024:1024"),
        *("--mount", f"type=bind,source={_binary()},target={_EMULATOR},readonly", "--entrypoint", _EMULATOR),
        *(word for name, value in environment.items() for word in ("--env", f"{name}={value}")),
        *(image.name, "--log-level", "error", "--runtime-api-address", f"127.0.0.1:{runtime_api}"),
        *("--runtime-interface-emulator-address", f"127.0.0.1:{port}", "/var/runtime/bootstrap", *command),
    ]


def _binary() -> Path:
    if platform.machine() != "x86_64":
        raise ImageError(f"the image is built for x86_64 and this machine is {platform.machine()}; run this test on an x86_64 one")
    return Path(samcli.__file__).parent / "local" / "rapid" / "aws-lambda-rie-x86_64"


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
