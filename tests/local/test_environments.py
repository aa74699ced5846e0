"""Execution environments: real emulator processes, with the limits and errors that Lambda has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.local.factories import environments
from tools.local.environments import MAX_REQUEST, RequestTooLarge, TooManyRequests
from tools.local.packages import PROJECT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    found = environments(tmp_path_factory.mktemp("tiny"))
    yield found
    found.close()


def ask(target, **do):
    return target.invoke(json.dumps({"do": do}).encode())


def error(answer):
    assert answer.failed
    return json.loads(answer.payload)


def test_answers_and_keeps_the_process_for_the_next_request(tiny):
    first, second = (json.loads(ask(tiny, kind="about").payload)["pid"] for _ in range(2))
    assert first == second != os.getpid()


def test_a_function_sees_its_folder_the_standard_library_and_the_runtime_only(tiny):
    about = json.loads(ask(tiny, kind="about").payload)
    assert about["flags"] == 1
    assert not any("site-packages" in path or path == str(PROJECT) for path in about["path"])
    assert json.loads(ask(tiny, kind="import", name="boto3").payload).startswith(str(PROJECT / "build" / "local"))


@pytest.mark.parametrize("name", ["pytest", "numpy", "modelserve", "moto"])
def test_what_the_function_does_not_bring_is_missing(tiny, name):
    assert error(ask(tiny, kind="import", name=name))["errorType"] == "ModuleNotFoundError"


def test_the_environment_is_the_functions_own(tiny, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_SHELL", "x")
    found = json.loads(ask(tiny, kind="about").payload)["environment"]
    assert found["GREETING"] == "hello", "the function's variables win over the image's"
    assert (found["AWS_LAMBDA_FUNCTION_NAME"], found["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], found["_HANDLER"]) == (
        "tiny",
        "256",
        "app.handler",
    )
    assert found["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.13"
    assert found["TMPDIR"].startswith(str(tiny.log.parent / "tmp"))
    assert not {"SECRET_OF_THE_SHELL", "HOME", "VIRTUAL_ENV", "PYTHONPATH"} & set(found)


def test_an_exception_is_the_functions_error(tiny):
    document = error(ask(tiny, kind="raise"))
    assert (document["errorType"], document["errorMessage"]) == ("ValueError", "boom")


def test_an_answer_that_looks_like_an_error_is_an_answer(tiny):
    assert not ask(tiny, kind="answer", answer={"errorMessage": "said by the function itself"}).failed


def test_a_process_that_exits_is_reported_and_replaced(tiny):
    assert error(ask(tiny, kind="exit"))["errorType"] == "Runtime.ExitError"
    assert not ask(tiny, kind="about").failed


def test_an_answer_over_six_megabytes_is_refused(tiny):
    assert not ask(tiny, kind="large", bytes=6 * 2**20).failed
    assert error(ask(tiny, kind="large", bytes=6 * 2**20 + 200))["errorType"] == "Function.ResponseSizeTooLarge"


def test_a_payload_over_six_megabytes_is_refused_before_the_function(tiny):
    frame = len(b'{"do":{},"x":""}')
    assert not tiny.invoke(b'{"do":{},"x":"%s"}' % (b"x" * (MAX_REQUEST - frame))).failed
    with pytest.raises(RequestTooLarge, match="6291456 bytes"):
        tiny.invoke(b'{"do":{},"x":"%s"}' % (b"x" * (MAX_REQUEST - frame + 1)))


def test_a_function_is_stopped_at_its_timeout(tmp_path):
    target = environments(tmp_path, timeout=1)
    try:
        document = error(ask(target, kind="sleep", seconds=30))
        assert document["errorType"] == "Sandbox.Timedout"
        assert document["errorMessage"].endswith("Task timed out after 1.00 seconds")
        assert not ask(target, kind="about").failed, "the next request is answered"
    finally:
        target.close()


def test_a_function_over_its_memory_is_killed(tmp_path):
    target = environments(tmp_path, memory=128)
    try:
        document = error(ask(target, kind="fill", megabytes=200))
        assert document["errorType"] == "Runtime.ExitError"
        assert document["errorMessage"].endswith("signal: killed")
        assert not ask(target, kind="fill", megabytes=0).failed, "the next request is answered"
    finally:
        target.close()


def test_one_request_at_a_time_more_on_demand_up_to_the_bound(tmp_path):
    target = environments(tmp_path, limit=2)
    try:
        with ThreadPoolExecutor(2) as callers:
            waiting = [callers.submit(ask, target, kind="sleep", seconds=3) for _ in range(2)]
            deadline = time.monotonic() + 20
            while target.busy < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            with pytest.raises(TooManyRequests):
                ask(target, kind="about")
            assert not any(each.result().failed for each in waiting)
        assert not ask(target, kind="about").failed
    finally:
        target.close()


def test_a_handler_that_cannot_be_imported_says_so(tmp_path):
    target = environments(tmp_path, code="import nothing_of_that_name\n")
    try:
        assert "nothing_of_that_name" in json.dumps(error(ask(target)))
    finally:
        target.close()


def test_closing_leaves_no_process_and_no_tmp(tmp_path):
    before = set(psutil.Process().children(recursive=True))
    target = environments(tmp_path)
    ask(target, kind="about")
    started = set(psutil.Process().children(recursive=True)) - before
    assert len(started) == 2, "the emulator and the function"
    target.close()
    assert not any(process.is_running() for process in started)
    assert not list((tmp_path / "run" / "tmp").iterdir())


def test_nothing_outlives_a_parent_that_is_killed(tmp_path):
    """Not even time to clean up: the kernel ends the emulator, and with it the function."""
    script = f"""
import json, time
from pathlib import Path
from tests.local.factories import environments
target = environments(Path({str(tmp_path)!r}))
target.invoke(json.dumps({{"do": {{"kind": "about"}}}}).encode())
print("ready", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        try:
            assert parent.stdout.readline() == "ready\n"
            family = psutil.Process(parent.pid).children(recursive=True)
        finally:
            parent.send_signal(signal.SIGKILL)
    assert len(family) == 2
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
