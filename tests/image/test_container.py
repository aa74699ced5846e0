"""A container gets what Lambda gives a function: its limits, its variables and its command."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from tests.image import container, image
from tests.image.container import Container, arguments
from tests.image.docker import ImageError
from tools.local.functions import Function

IMAGE = image.Image(folder="predict", name="predict:test", command=("functions.predict.handler.handler",), size=2, added=1)
LIMITS = "314572800\n536870912\n993\n0000000000000000\n1\nro"


def a_function(**changes):
    values: dict[str, Any] = {"name": "f", "logical_id": "F", "handler": "", "runtime": "", "image": "tag", "code": "", "layers": ()}
    values |= {"environment": {"MODEL_NAME": "fruit"}, "timeout": 29, "memory": 300}
    return Function(**{**values, **changes})


def line(function):
    return arguments(IMAGE, function, {"AWS_REGION": "us-east-1"}, runtime_api=9001, port=9002)


@pytest.fixture
def started(monkeypatch):
    """A container whose `docker` answers what a test says, by the command's first word."""
    answers = {
        "exec": "",
        "diff": "A /emulator\nC /tmp",
        "inspect": json.dumps({"OOMKilled": False, "Running": True}),
        "logs": "what it said",
    }
    monkeypatch.setattr(container, "run", lambda *words: answers[words[1]])
    return Container(IMAGE, a_function(), "http://127.0.0.1:1"), answers


def test_memory_is_the_functions_and_there_is_no_swap():
    options = dict(pairwise(line(a_function(memory=1769))))
    assert options["--memory"] == options["--memory-swap"] == "1769m"
    assert options["--cpus"] == "1"


def test_nothing_but_tmp_can_be_written_and_no_privilege_is_left():
    words = line(a_function())
    options = dict(pairwise(words))
    assert "--read-only" in words
    assert options["--tmpfs"] == "/tmp:rw,mode=1777,size=512m"
    assert options["--cap-drop"] == "ALL"
    assert options["--security-opt"] == "no-new-privileges"
    assert options["--user"].split(":")[0] != "0"


def test_variables_are_the_stacks_over_lambdas():
    words = line(a_function(environment={"MODEL_NAME": "fruit", "AWS_LAMBDA_FUNCTION_VERSION": "7"}))
    variables = dict(value.split("=", 1) for option, value in pairwise(words) if option == "--env")
    assert variables["MODEL_NAME"] == "fruit"
    assert variables["AWS_LAMBDA_FUNCTION_VERSION"] == "7"
    assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "300"
    assert variables["AWS_REGION"] == "us-east-1"


@pytest.mark.parametrize(("handler", "command"), [("", "functions.predict.handler.handler"), ("other.handler", "other.handler")])
def test_the_template_names_the_handler_and_otherwise_the_image_does(handler, command):
    assert line(a_function(handler=handler))[-2:] == ["/var/runtime/bootstrap", command]


def test_the_emulator_listens_on_loopback_only():
    options = dict(pairwise(line(a_function())))
    assert options["--runtime-api-address"] == "127.0.0.1:9001"
    assert options["--runtime-interface-emulator-address"] == "127.0.0.1:9002"


def test_peaks_are_of_the_container_and_of_its_largest_process(started):
    here, answers = started
    answers["exec"] = "33554432"
    here._inside = lambda command: "VmHWM:\t  5000 kB\nVmHWM:\t   61440 kB" if "VmHWM" in command else "33554432"
    assert here.peak_memory() == (32 * 2**20, 60 * 2**20)


def test_limits_that_hold_are_accepted(started):
    here, answers = started
    answers["exec"] = LIMITS
    here.check_limits()


@pytest.mark.parametrize("changed", ["314572800>max", "536870912>1", "993>0", "0000000000000000>00000000a80425fb", "ro>rw"])
def test_a_machine_that_does_not_enforce_a_limit_fails_the_test(started, changed):
    here, answers = started
    answers["exec"] = LIMITS.replace(*changed.split(">"))
    with pytest.raises(ImageError, match="has the limits"):
        here.check_limits()


def test_an_answers_body_is_the_prediction(started):
    here, _ = started
    assert here._read(json.dumps({"statusCode": 200, "body": '{"outputs": []}'}).encode()) == {"outputs": []}


@pytest.mark.parametrize(
    "text", [b"", b"Task timed out", b"[]", b'{"errorType": "Runtime.ExitError"}', b'{"statusCode": 503, "body": "{}"}']
)
def test_any_other_answer_is_told_with_the_log(started, text):
    here, _ = started
    with pytest.raises(ImageError, match=r"answered '.*\n.*\nwhat it said"):
        here._read(text)


def test_a_container_that_leaves_nothing_is_accepted(started):
    here, _ = started
    here.check_traces()


@pytest.mark.parametrize(
    ("command", "answer", "told"),
    [
        ("exec", "/tmp/model.onnx", "left in /tmp: /tmp/model.onnx"),
        ("diff", "A /emulator\nA /var/task/cache", "wrote outside /tmp"),
        ("inspect", json.dumps({"OOMKilled": True, "Running": True}), "OOMKilled"),
        ("inspect", json.dumps({"OOMKilled": False, "Running": False}), "Running"),
    ],
)
def test_what_a_container_leaves_or_dies_of_is_told_with_its_log(started, command, answer, told):
    here, answers = started
    answers[command] = answer
    with pytest.raises(ImageError, match=told) as raised:
        here.check_traces()
    assert "what it said" in str(raised.value)
