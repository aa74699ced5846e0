"""Invocations through Lambda's Runtime API."""

import json
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from textwrap import dedent

import pytest

from tools.loopback import runtime
from tools.loopback.errors import MeasureError
from tools.loopback.runtime import Invoked, first_answer, invoked

CLIENT = dedent("""
    import json, os, sys, time, urllib.request

    api = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime"
    with urllib.request.urlopen(f"{api}/invocation/next") as event:
        request_id = event.headers["Lambda-Runtime-Aws-Request-Id"]
        left = int(event.headers["Lambda-Runtime-Deadline-Ms"]) / 1000 - time.time()
        assert 0 < left < 30
        document = json.load(event)
    print("a line of the log", flush=True)
    answer = json.dumps({"statusCode": int(sys.argv[1]), "body": document["body"] + os.environ["SUFFIX"]}).encode()
    urllib.request.urlopen(f"{api}/invocation/{request_id}/response", answer).read()
    urllib.request.urlopen(f"{api}/invocation/next")  # as every runtime does; nothing comes
""")


LOOP = dedent("""
    import os, sys
    from http.client import HTTPConnection

    def call(method, path, body=None):
        connection = HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
        connection.request(method, "/2018-06-01/runtime/" + path, body)
        return connection.getresponse().read()

    for _ in range(int(sys.argv[1])):
        call("POST", "invocation/1/response", b"answer to " + call("GET", "invocation/next"))
    call("POST", "init/error", b"it is over") if len(sys.argv) > 2 else print("a line of the log", flush=True)
""")


def loop(folder: Path, *arguments: str) -> AbstractContextManager[Invoked]:
    """A function that answers so often."""
    return invoked([sys.executable, "-I", "-S", "-c", LOOP, *arguments], event={"body": "hello"}, cwd=folder, environ={})


def ask(folder: Path, *line: str):
    return first_answer([sys.executable, "-c", *line], event={"body": "hello"}, cwd=folder, environ={"SUFFIX": "!"})


def test_a_process_gets_its_event_and_its_answer_is_timed(tmp_path: Path) -> None:
    seconds, answer = ask(tmp_path, CLIENT, "200")
    assert answer == {"statusCode": 200, "body": "hello!"}
    assert seconds > 0


def test_another_status_is_an_error_that_shows_the_log(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match=r"503[\s\S]*a line of the log"):
        ask(tmp_path, CLIENT, "503")


def test_a_process_that_ends_without_an_answer_is_an_error_that_shows_why(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match="No module named 'nowhere'"):
        ask(tmp_path, "import nowhere")


def test_a_process_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_PATIENCE", 0.5)
    monkeypatch.setattr(runtime, "_LOOK", 0.1)
    with pytest.raises(MeasureError, match=r"nothing in 0\.5 s"):
        ask(tmp_path, "import time; time.sleep(60)")


def test_an_error_document_is_an_error(tmp_path: Path) -> None:
    failing = CLIENT.replace("/response", "/error").replace('{"statusCode": int(sys.argv[1]), "body"', '{"errorType": sys.argv[1], "body"')
    with pytest.raises(MeasureError, match="ValueError"):
        ask(tmp_path, failing, json.dumps("ValueError"))


def test_a_function_is_invoked_as_often_as_it_is_asked(tmp_path: Path) -> None:
    """Its client opens a connection for each request; the runtime client that AWS has keeps one."""
    with loop(tmp_path, "3") as running:
        assert [running.first(), running.ask(), running.ask(b"this")] == [
            b'answer to {"body": "hello"}',
            b'answer to {"body": "hello"}',
            b"answer to this",
        ]


@pytest.mark.parametrize(("arguments", "said"), [(("0",), r"ended[\s\S]*a line of the log"), (("0", "fail"), "init/error.*it is over")])
def test_a_function_that_ends_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str) -> None:
    monkeypatch.setattr("tools.loopback.runtime._LOOK", 0.01)
    with pytest.raises(MeasureError, match=said), loop(tmp_path, *arguments) as running:
        running.first()
