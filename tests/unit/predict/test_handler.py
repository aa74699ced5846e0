"""The function from an event to its answer."""

import gc
import gzip
import json
import subprocess
import sys
import time
import traceback
import weakref
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.http import InferenceServerClient, InferInput

from modelserve.errors import InvalidInput, InvalidRequest, ModelNotReady, PayloadTooLarge, ServeError
from modelserve.protocol import status_of
from modelserve.settings import PredictSettings
from modelserve.submission import Submissions
from modelserve.tensors import Tensor
from tests.unit.modelserve.factories import document, tensor
from tests.unit.modelserve.graphs import endless, graph, identity, lookup, scaled, value
from tests.unit.modelserve.queues import Queues, Table
from tests.unit.modelserve.runtimes import JobBucket
from tests.unit.modelserve.strategies import almost_requests, anything, dumped, mutations

from .apps import INFER, STORELESS, Answer, App, Context, asked, http, rest, started

REQUEST = dumped(document())
KINDS = pytest.mark.parametrize("kind", [rest, http])
shares_app = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
FAR = Context(10_000_000)


def doubled(answer: Answer) -> bool:
    return answer.status == 200 and answer.json["outputs"][0]["data"] == [2.0, 4.0, 6.0]


# Every way in


@KINDS
@pytest.mark.parametrize("text", [True, False])
def test_a_request_in_json_is_answered_whatever_brings_it(app, kind, text):
    answer = asked(app, kind("POST", INFER, REQUEST, text=text, content_type="application/json"))

    assert doubled(answer)
    assert answer.headers == {"Content-Type": "application/json"}


@KINDS
def test_a_binary_request_is_answered_in_binary(app, kind):
    array = np.array([[1, 2, 3]], "f4")
    body, length = InferenceServerClient.generate_request_body([InferInput("x", [1, 3], "FP32").set_data_from_numpy(array)])

    answer = asked(app, kind("POST", INFER, body, inference_header_content_length=str(length)))

    length = int(answer.headers["Inference-Header-Content-Length"])
    result = InferenceServerClient.parse_response_body(answer.body, header_length=length)
    assert result.as_numpy("y").tolist() == [[2, 4, 6]]


@KINDS
def test_a_compressed_request_is_answered(app, kind):
    assert doubled(asked(app, kind("POST", INFER, gzip.compress(REQUEST), content_encoding="gzip")))


def test_a_plain_request_is_answered_as_a_direct_invocation(app):
    answer = app.handle(document(id="7"), Context())

    assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [2.0, 4.0, 6.0]}]
    assert (answer["model_name"], answer["id"]) == ("sample", "7")


@KINDS
@pytest.mark.parametrize("prefix", ["", "/dev", "/prod/ml", "/a/b/c"])
@pytest.mark.parametrize("path", [INFER, f"{INFER}/", "/v2/models/sample/versions/production/infer", "/v2/models/s%61mple/infer"])
def test_the_protocol_is_found_behind_any_base_path(app, kind, prefix, path):
    assert doubled(asked(app, kind("POST", prefix + path, REQUEST)))


@KINDS
def test_what_needs_no_body_is_answered(app, kind):
    assert asked(app, kind("GET", "/dev/v2/health/live")).json == {"live": True}
    assert asked(app, kind("GET", "/dev/v2/models/sample/ready")).json == {"name": "sample", "ready": True}


# Bad input


def invoked(app: App, event: object) -> int:
    """The status of a payload of any kind, that of what is raised too."""
    try:
        answer = app.handle(event, FAR)
    except ServeError as error:
        return status_of(error)
    return Answer(answer).status if "statusCode" in answer else 200


@given(anything | almost_requests)
@shares_app
def test_any_payload_is_answered_or_refused(app, event):
    assert invoked(app, event) in {200, 400}
    assert doubled(asked(app, rest("POST", INFER, REQUEST)))


@given(st.sampled_from([rest, http]), anything | almost_requests)
@shares_app
def test_any_json_in_an_event_is_answered_or_refused(app, kind, body):
    answer = asked(app, kind("POST", INFER, dumped(body)), FAR)

    assert answer.status == 200 or answer.error(400)
    assert doubled(asked(app, kind("POST", INFER, REQUEST)))


@given(
    st.sampled_from([rest, http]),
    st.binary(max_size=99) | mutations(REQUEST),
    st.none() | st.text(max_size=4) | st.integers(0, 99).map(str),
)
@shares_app
def test_any_bytes_in_an_event_are_answered_or_refused(app, kind, body, length):
    headers = {} if length is None else {"inference_header_content_length": length}

    answer = asked(app, kind("POST", INFER, body, **headers), FAR)

    assert answer.status == 200 or answer.error(400)
    assert doubled(asked(app, kind("POST", INFER, REQUEST)))


@given(st.sampled_from([rest, http]), st.sampled_from(["GET", "POST", "PUT", "OPTIONS", "HEAD", "x"]), st.text(), st.text(max_size=9))
@shares_app
def test_any_method_path_and_header_is_answered_or_refused(app, kind, method, path, header):
    answer = asked(app, kind(method, f"/v2/{path}", REQUEST, content_encoding=header, accept=header), FAR)

    assert answer.status < 500


@KINDS
@given(
    st.dictionaries(
        st.sampled_from(["version", "httpMethod", "path", "rawPath", "headers", "body", "isBase64Encoded", "requestContext"]), anything
    )
)
@shares_app
def test_an_event_with_anything_in_it_is_answered_or_refused(app, kind, wrong):
    assert asked(app, kind("POST", INFER, REQUEST) | wrong, FAR).status < 500


@KINDS
@pytest.mark.parametrize("body", ["no base64", "AAAA=x", "é", "\ud800", "A"])
def test_a_body_that_is_not_what_the_event_says_is_refused(app, kind, body):
    event = kind("POST", INFER, REQUEST) | {"body": body}

    assert "the body could not be decoded" in asked(app, event).error(400)


def test_what_is_no_request_at_all_is_told_so():
    events: list[Any] = [None, 5, "text", [], {}, {"version": "2.0"}, {"Records": []}, {"httpMethod": "GET"}]

    for event in events:
        assert "send an object with 'inputs'" in asked(STORELESS, event).error(400)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"inputs": []}, InvalidRequest),
        (document(tensor([1, 2, 3], name="z")), InvalidInput),
        (document(parameters={"binary_data_output": True}), InvalidRequest),
    ],
)
def test_a_direct_invocation_raises_what_is_wrong_by_its_name(app, event, error):
    with pytest.raises(error, match="over HTTP is answered with what is wrong"):
        app.handle(event, Context())


@KINDS
def test_methods_are_refused_with_those_that_are_allowed(app, kind):
    answer = asked(app, kind("OPTIONS", INFER))

    assert "use POST" in answer.error(405)
    assert answer.headers["Allow"] == "POST"


# Browsers


@KINDS
def test_a_browser_may_call_from_the_origin_that_is_set(store, publisher, monkeypatch, kind):
    publisher.release(scaled(2))
    app = started(store, monkeypatch, cors_origin="https://example.com")

    before = asked(app, kind("OPTIONS", INFER, origin="https://example.com"))
    answer = asked(app, kind("POST", INFER, REQUEST))
    refused = asked(app, kind("POST", INFER, b"{"))

    assert (before.status, before.body) == (204, b"")
    assert "POST" in before.headers["Access-Control-Allow-Methods"]
    for each in (before, answer, refused):
        assert each.headers["Access-Control-Allow-Origin"] == "https://example.com"
    assert "Inference-Header-Content-Length" in answer.headers["Access-Control-Expose-Headers"]


def test_no_browser_may_call_unless_an_origin_is_set(app):
    assert not [name for name in asked(app, rest("POST", INFER, REQUEST)).headers if name.startswith("Access-Control")]


# Models that are not there, are slow, or change


@KINDS
def test_an_empty_store_answers_what_to_do_and_then_the_first_promotion(store, publisher, monkeypatch, kind):
    app = started(store, monkeypatch)

    refused = asked(app, kind("POST", INFER, REQUEST))
    assert "modelctl promote sample VERSION --alias production" in refused.error(503)
    assert refused.headers["Retry-After"] == "1"
    assert asked(app, kind("GET", "/v2/health/live")).status == 200

    publisher.release(scaled(2))
    later = app._loader._clock() + 1
    monkeypatch.setattr(app._loader, "_clock", lambda: later)
    assert doubled(asked(app, kind("POST", INFER, REQUEST)))


def test_a_promotion_is_served_and_a_broken_one_is_not(app, store, publisher):
    app._loader._check_seconds = 0
    publisher.release(scaled(3))
    assert asked(app, rest("POST", INFER, REQUEST)).json["outputs"][0]["data"] == [3, 6, 9]

    publisher.release(b"no graph")

    assert asked(app, rest("POST", INFER, REQUEST)).json["outputs"][0]["data"] == [3, 6, 9]


def test_a_run_ends_before_the_invocation_does(store, publisher, monkeypatch):
    publisher.release(endless())
    app = started(store, monkeypatch)

    def request(flag: int):
        return rest("POST", INFER, dumped(document(tensor([flag], datatype="INT64", shape=(1,)))))

    assert "did not answer within 0.1 s" in asked(app, request(1), Context(600)).error(504)
    assert asked(app, request(0)).status == 200


@pytest.mark.parametrize(("data", "finds"), [([1, 2, 3], 1), ([[1, 2, 3]], 2)], ids=["the short way", "both ways"])
def test_what_it_takes_to_find_the_model_is_not_left_to_its_run(app, monkeypatch, data, finds):
    model, given = app._loader.find(None), []

    def find(_: str | None) -> Any:
        time.sleep(0.1)
        return model

    def run(inputs: Any, _: list[str], *, seconds: float) -> list[Tensor]:
        given.append(seconds)
        return [Tensor("y", "FP32", (1, 3), inputs[0].data)]

    monkeypatch.setattr(app._plane, "find", find)
    monkeypatch.setattr(model, "run", run)
    assert asked(app, rest("POST", INFER, dumped(document(tensor(data))))).status == 200
    assert given[0] <= app._settings.deadline_seconds - 0.1 * finds


def test_the_settings_say_whether_nan_is_refused(store, publisher, monkeypatch):
    publisher.release(scaled(2))
    body = dumped(document(tensor([1, float("nan"), 3])))

    answer = asked(started(store, monkeypatch, nan_inputs="refuse"), rest("POST", INFER, body))

    assert "input 'x' holds NaN or infinity, which this model refuses" in answer.error(400)


def test_an_answer_over_lambdas_limit_is_an_error_and_logged_as_one(store, publisher, monkeypatch, capfd):
    from onnx import helper

    zeros = graph([helper.make_node("ConstantOfShape", ["x"], ["y"])], [value("x", "INT64", (1,))], [value("y", "FP32", ("n",))])
    publisher.release(zeros)
    app = started(store, monkeypatch)

    def request(count: int, **keys):
        return rest("POST", INFER, dumped(document(tensor([count], datatype="INT64", shape=(1,)), **keys)))

    capfd.readouterr()
    assert "the answer is larger than" in asked(app, request(2_000_000)).error(413)
    assert [entry["status"] for entry in map(json.loads, capfd.readouterr().out.splitlines()) if "status" in entry] == [413]
    assert "the answer is larger than" in asked(app, request(1, id='"' * 2_000_000)).error(413)
    assert "with binary_data" in asked(app, request(2_000_000, parameters={"binary_data_output": True})).error(413)
    assert asked(app, request(1_000_000, parameters={"binary_data_output": True})).status == 200
    with pytest.raises(PayloadTooLarge):
        app.handle(document(tensor([2_000_000], datatype="INT64", shape=(1,))), Context())


# What is logged


def entries(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_a_request_is_one_line_and_one_metric_and_the_first_one_a_cold_start(store, publisher, monkeypatch, capfd):
    version = publisher.release(scaled(2))
    app = started(store, monkeypatch)
    loaded, load_time = entries(capfd)
    asked(app, rest("POST", INFER, dumped(document(tensor([1] * 6, shape=(2, 3))))))
    first, first_metric = entries(capfd)
    asked(app, rest("POST", INFER, b"{"))
    second, second_metric = entries(capfd)

    assert (loaded["message"], loaded["version"]) == ("model loaded", version)
    assert load_time["LoadTime"][0] > 0
    assert (first["cold_start"], first["status"], first["version"], first["function_request_id"]) == (
        True,
        200,
        version,
        FAR.aws_request_id,
    )
    assert {name: first_metric[name] for name in ("model", "version", "BatchRows", "ColdStart")} == {
        "model": "sample",
        "version": version,
        "BatchRows": [2],
        "ColdStart": [1],
    }
    assert first_metric["Latency"][0] > 0
    assert (second["cold_start"], second["status"], second["error"], second["level"]) == (False, 400, "InvalidRequest", "INFO")
    assert (second_metric["InvalidRequest"], "ColdStart" in second_metric) == ([1], False)


def test_what_the_operator_must_mend_is_logged_with_its_reason(store, monkeypatch, capfd):
    app = started(store, monkeypatch)
    asked(app, rest("POST", INFER, REQUEST))

    entry = entries(capfd)[0]

    assert (entry["level"], entry["error"], entry["status"]) == ("ERROR", "ModelNotReady", 503)
    assert "modelctl promote" in entry["reason"]


def test_a_new_version_that_fails_is_logged_while_the_old_one_answers(app, publisher, capfd):
    app._loader._check_seconds = 0
    publisher.release(b"no graph")
    capfd.readouterr()

    assert doubled(asked(app, rest("POST", INFER, REQUEST)))

    failure, metric, *_ = entries(capfd)
    assert (failure["level"], failure["error"]) == ("ERROR", "UnverifiedModel")
    assert (metric["LoadFailure"], metric["UnverifiedModel"]) == ([1], [1])


def test_a_bug_is_answered_with_the_log_line_to_ask_for_and_the_next_request_as_ever(app, monkeypatch, capfd):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("canary-5172")

    with monkeypatch.context() as patch:
        patch.setattr(app._plane, "find", fail)
        answer = asked(app, rest("POST", INFER, REQUEST))
        with pytest.raises(ServeError, match=Context.aws_request_id):
            app.handle(document(), Context())
    output = capfd.readouterr().out

    assert Context.aws_request_id in answer.error(500)
    assert "canary" not in output
    assert "RuntimeError" in output
    assert "test_handler.py" in output
    assert doubled(asked(app, rest("POST", INFER, REQUEST)))


def test_memory_that_runs_out_is_answered_and_the_next_request_too(app, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(app._plane, "find", Mock(side_effect=MemoryError))
        answer = asked(app, rest("POST", INFER, REQUEST))

    assert "needs more memory for this input than its function has; send fewer rows, or raise `memory`" in answer.error(500)
    assert doubled(asked(app, rest("POST", INFER, REQUEST)))


def test_a_client_is_in_the_line_and_in_no_metric(store, publisher, monkeypatch, capfd):
    publisher.release(scaled(2))
    app = started(store, monkeypatch)
    event = rest("POST", INFER, dumped(document(tensor([1] * 6, shape=(2, 3)))))
    event["requestContext"]["authorizer"] = {"principalId": "shop", "client": "shop", "models": "sample"}
    capfd.readouterr()
    asked(app, event)
    line, metric = entries(capfd)

    assert line["client"] == "shop"
    assert "client" not in metric


@pytest.mark.parametrize("model", [identity("BYTES", ("n",)), lookup(), identity("FP32", ("n",))], ids=["text", "lookup", "numbers"])
def test_no_payload_reaches_a_log(store, publisher, monkeypatch, capfd, model):
    publisher.release(model)
    app = started(store, monkeypatch, nan_inputs="refuse", log_level="DEBUG")
    canary, number = "canary-5172", 517251725172

    for datatype, data in (("BYTES", [canary]), ("INT64", [number]), ("FP32", [float(number)]), ("FP32", [canary]), (canary, [1])):
        for name, keys in (("x", {}), (canary, {}), ("x", {"id": canary}), ("x", {"outputs": [{"name": canary}]})):
            body = document(tensor(data, name=name, datatype=datatype, shape=(1,)), **keys)
            asked(app, rest("POST", INFER, dumped(body), authorization=canary))
            asked(app, http("POST", f"{INFER}/{canary}", dumped(body)[:-3]))
            try:
                app.handle(body, Context())
            except ServeError:
                traceback.print_exc()  # as the runtime does with all that is raised

    output = "".join(capfd.readouterr())
    assert '"message":"request"' in output
    assert "canary" not in output
    assert "51725172" not in output


# Jobs


def authorized(event: dict[str, Any], **context: str) -> dict[str, Any]:
    return event | {"requestContext": event["requestContext"] | {"authorizer": context}}


@KINDS
def test_a_job_is_its_clients_and_has_the_priority_of_its_plan(app, monkeypatch, kind):
    bucket, table, queues = JobBucket(), Table(), Queues()
    made = PredictSettings(
        model_name="sample", model_bucket="none", high_plans=("premium",), high_queue_url="u/high", low_queue_url="u/low"
    )
    monkeypatch.setattr(
        Submissions, "from_environ", lambda _settings, plane, _environ, **_: Submissions(made, plane, bucket, table, queues)
    )
    event = authorized(kind("POST", "/v2/models/sample/jobs", REQUEST), client="shop", plan="premium")
    answer, again = asked(app, event), asked(app, event)

    assert (answer.status, again.status) == (202, 202)
    kept = table.jobs[answer.json["id"]]
    assert (kept.client, kept.priority, queues.told[0][0]) == ("shop", "high", "u/high")
    assert bucket.objects[kept.request] == [REQUEST]


def test_a_function_that_knows_no_queue_takes_no_jobs(app):
    assert "model 'sample' takes no jobs" in asked(app, rest("POST", "/v2/models/sample/jobs", REQUEST)).error(404)


def test_a_job_that_is_refused_is_refused_at_once_and_counted(app, capfd, monkeypatch):
    made = PredictSettings(model_name="sample", model_bucket="none")
    parts = JobBucket(), Table(), Queues()
    monkeypatch.setattr(Submissions, "from_environ", lambda _settings, plane, _environ, **_: Submissions(made, plane, *parts))
    refused = asked(app, rest("POST", "/v2/models/sample/jobs", dumped(document(tensor([1.0], shape=(1, 1))))))

    assert "input 'x' has shape" in refused.error(400)
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["InvalidInput"] for line in lines if "InvalidInput" in line] == [[1]]


# What a cold start imports


def imported(modules: str, unwanted: set[str]) -> str:
    """Which of `unwanted` a fresh process has after importing `modules`; what a start without a store logs comes before."""
    program = f"import sys, {modules}; print(sorted({unwanted} & set(sys.modules)))"
    environ = {"MODEL_NAME": "sample", "MODEL_BUCKET": "none", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    root = Path(__file__).parents[3]
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root, env=environ)
    return ran.stdout.splitlines()[-1]


def test_the_function_imports_nothing_heavy_of_its_own():
    """Each of them takes longer than a request; what ONNX Runtime brings is loaded beside the download."""
    heavy = {"asyncio", "email", "http.client", "logging", "numpy", "onnxruntime", "ssl", "tempfile", "urllib.request", "xml.etree"}
    heavy |= {"aws_lambda_powertools", "boto3", "botocore", "pandas", "pydantic", "requests", "typing", "urllib3"}
    rooms = "functions.predict.observability, modelserve.fetch, modelserve.invocation"

    assert imported(rooms, heavy) == "[]"


def test_the_function_imports_nothing_of_jobs_before_there_is_one():
    assert imported("functions.predict.handler", {"modelserve.jobs", "modelserve.submission", "modelserve.async_jobs"}) == "[]"


def test_a_process_that_ends_while_it_starts_waits_for_the_library_which_would_crash():
    program = """
import time
from modelserve import _ort, native
def slowly(name):
    time.sleep(0.3)
    print(name, flush=True)
_ort.api, native.preload = (lambda: slowly("library")), (lambda: slowly("session"))
import functions.predict.ahead
"""
    environ = {"PYTHONPATH": ":".join(sys.path), "MODEL_NAME": "sample", "MODEL_BUCKET": "none", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    ended = subprocess.check_output([sys.executable, "-c", program], env=environ, text=True)
    assert sorted(ended.split()) == ["library", "session"]


def test_the_function_imports_none_of_what_only_tools_need():
    tools = {"asyncio", "aws_lambda_powertools", "boto3", "botocore", "models", "moto", "pandas", "pydantic", "sklearn", "tools"}

    assert imported("functions.predict.handler, modelserve.session", tools) == "[]"


def test_starting_without_a_store_ends_well():
    """INIT never raises: this module was imported without one."""
    with pytest.raises(ModelNotReady):
        STORELESS.handle(document(), Context())


def test_a_refused_request_leaves_nothing_of_itself_behind(app, monkeypatch):
    """An error's frames would hold the request, and the model's answer to it, until the garbage collector comes by."""

    class Answer(bytearray):
        pass

    left: list[weakref.ref[Answer]] = []

    def refuse(*_: object, **__: object) -> None:
        large = Answer()
        left.append(weakref.ref(large))
        try:
            raise KeyError
        except KeyError:
            raise InvalidInput("no") from None

    monkeypatch.setattr(app._plane, "find", refuse)
    gc.disable()
    try:
        asked(app, rest("POST", INFER, REQUEST)).error(400)
        assert left[0]() is None
    finally:
        gc.enable()
