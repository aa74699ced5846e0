"""One invocation through Lambda's Runtime API."""

import json
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tools.bench import runtime
from tools.bench.runtime import BenchError, first_answer

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


def ask(folder: Path, *line: str):
    return first_answer([sys.executable, "-c", *line], event={"body": "hello"}, cwd=folder, environ={"SUFFIX": "!"})


def test_a_process_gets_its_event_and_its_answer_is_timed(tmp_path: Path) -> None:
    seconds, answer = ask(tmp_path, CLIENT, "200")
    assert answer == {"statusCode": 200, "body": "hello!"}
    assert seconds > 0


def test_another_status_is_an_error_that_shows_the_log(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"503[\s\S]*a line of the log"):
        ask(tmp_path, CLIENT, "503")


def test_a_process_that_ends_without_an_answer_is_an_error_that_shows_why(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="No module named 'nowhere'"):
        ask(tmp_path, "import nowhere")


def test_a_process_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_PATIENCE", 0.5)
    with pytest.raises(BenchError, match="answered None"):
        ask(tmp_path, "import time; time.sleep(60)")


def test_an_error_document_is_an_error(tmp_path: Path) -> None:
    failing = CLIENT.replace("/response", "/error").replace('{"statusCode": int(sys.argv[1]), "body"', '{"errorType": sys.argv[1], "body"')
    with pytest.raises(BenchError, match="ValueError"):
        ask(tmp_path, failing, json.dumps("ValueError"))
