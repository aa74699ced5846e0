"""The gateway from an event to its answer, beside the predict function with the same version."""

import json
import traceback
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from aws_lambda_powertools.logging import logger as powertools
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.http import InferenceServerClient, InferInput

from modelserve.errors import DeadlineExceeded, EndpointUnavailable, ModelNotReady, ServeError
from tests.unit.modelserve.factories import document, tensor
from tests.unit.modelserve.graphs import identity, lookup, pair, scaled
from tests.unit.modelserve.runtimes import Runtime
from tests.unit.modelserve.strategies import almost_requests, anything, dumped, mutations, tensors
from tests.unit.predict import apps
from tests.unit.predict.apps import INFER, Answer, Context, http, rest
from tests.unit.predict.test_handler import KINDS, REQUEST, doubled, entries
from tests.unit.predict.test_observability import comparable

from .apps import STORELESS, App, asked, beside, started

shares_app = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
FAR = Context(10_000_000)
OF_A_RUN = ("could not run on this input", "holds NaN or infinity, which JSON can't carry; send finite inputs")
"""What only the model can tell of a request."""


@pytest.fixture
def predict(releases, app, monkeypatch) -> apps.App:
    return beside(releases, app, monkeypatch)


def outcome(answer: Answer) -> tuple[int, dict[str, str], Any]:
    """All that a client can tell by; JSON to the number, as there is a choice of digits."""
    text = answer.headers.get("Content-Type") == "application/json"
    return answer.status, answer.headers, json.loads(answer.body, parse_float=np.float32) if text else answer.body


def same(app: App, predict: apps.App, event: Any) -> bool:
    """Whether both answer alike; of a request that is refused the endpoint has heard nothing."""
    runtime = app._endpoint
    assert isinstance(runtime, Runtime)
    before = len(runtime.asked)
    answer = asked(app, event, FAR)
    if 400 <= answer.status < 500 and not any(failing in answer.error(answer.status) for failing in OF_A_RUN):
        assert len(runtime.asked) == before
    return outcome(answer) == outcome(apps.asked(predict, event, FAR))


# A client can't tell it from predict


@KINDS
@pytest.mark.parametrize("text", [True, False])
def test_a_request_is_answered_whatever_brings_it(app, predict, kind, text):
    event = kind("POST", INFER, REQUEST, text=text, content_type="application/json")

    assert doubled(asked(app, event))
    assert same(app, predict, event)


@given(st.sampled_from([rest, http]), anything | almost_requests)
@shares_app
def test_any_json_is_answered_as_by_predict(app, predict, kind, body):
    assert same(app, predict, kind("POST", INFER, dumped(body)))


@given(
    st.sampled_from([rest, http]),
    st.binary(max_size=99) | mutations(REQUEST),
    st.none() | st.text(max_size=4) | st.integers(0, 99).map(str),
)
@shares_app
def test_any_bytes_are_answered_as_by_predict(app, predict, kind, body, length):
    headers = {} if length is None else {"inference_header_content_length": length}

    assert same(app, predict, kind("POST", INFER, body, **headers))


@given(st.sampled_from("xz"), st.booleans(), st.data())
@shares_app
def test_any_tensor_is_answered_as_by_predict(app, predict, name, binary, data):
    datatype, array = data.draw(tensors(binary=binary).filter(lambda drawn: drawn[0] != "BF16" and drawn[1].shape))
    sent = InferInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary)
    body, length = InferenceServerClient.generate_request_body([sent])
    headers: dict[str, Any] = {} if length is None else {"inference_header_content_length": str(length)}

    assert same(app, predict, rest("POST", INFER, body, **headers))


@given(st.sampled_from(["GET", "POST", "PUT", "OPTIONS", "HEAD", "x"]), st.text(), st.text(max_size=9))
@shares_app
def test_any_method_path_and_header_is_answered_as_by_predict(app, predict, method, path, header):
    assert same(app, predict, rest(method, f"/v2/{path}", REQUEST, content_encoding=header, accept=header))


@pytest.mark.parametrize("path", ["/v2", "/v2/health/ready", "/v2/models/sample", "/v2/models/sample/ready", "/v2/repository/index", "/v3"])
def test_what_needs_no_body_is_answered_as_by_predict(app, predict, path):
    assert same(app, predict, rest("GET", f"/dev{path}"))


@pytest.mark.parametrize(
    "asked_for",
    [
        {"id": "7"},
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "difference", "parameters": {"binary_data": True}}, {"name": "total"}]},
        {"outputs": [{"name": "total", "parameters": {"classification": 1}}]},
    ],
    ids=str,
)
def test_outputs_come_as_they_were_asked_for_as_from_predict(releases, monkeypatch, asked_for):
    releases.release(pair(), labels=("no", "yes"))
    app = started(releases, monkeypatch)
    body = document(*(tensor([1, 2, 3, 5], name=name, shape=(2, 2)) for name in ("a", "b")), **asked_for)

    assert same(app, beside(releases, app, monkeypatch), rest("POST", INFER, dumped(body)))


@pytest.mark.parametrize(
    ("graph", "sent", "told"),
    [
        (lookup(), tensor([9], datatype="INT64", shape=(1,)), "indices element out of data bounds"),
        (scaled(2), tensor([3e38, 0, 0]), "output 'y' holds NaN or infinity"),
    ],
    ids=["a failure", "an infinity"],
)
def test_a_run_that_gives_no_answer_is_told_as_by_predict(releases, monkeypatch, graph, sent, told):
    releases.release(graph)
    app = started(releases, monkeypatch)
    event = rest("POST", INFER, dumped(document(sent)))

    assert told in asked(app, event).error(400)
    assert same(app, beside(releases, app, monkeypatch), event)


@pytest.mark.parametrize("body", [document(id="7"), document(tensor([1, 2, 3], name="z")), {"inputs": []}, document(outputs=[{"name": 5}])])
def test_a_direct_invocation_gets_and_raises_what_predicts_does(app, predict, body):
    found: list[Any] = []
    for handle in (app.handler, predict.handle):
        try:
            found.append(handle(body, Context()))
        except ServeError as error:
            found.append((type(error), str(error)))

    assert found[0] == found[1]


def test_the_settings_say_whether_nan_is_refused_and_who_may_call(releases, monkeypatch):
    releases.release(scaled(2))
    app = started(releases, monkeypatch, nan_inputs="refuse", cors_origin="https://example.com")
    predict = beside(releases, app, monkeypatch)

    for event in (rest("POST", INFER, dumped(document(tensor([1, float("nan"), 3])))), rest("OPTIONS", INFER), rest("POST", INFER, b"{")):
        assert asked(app, event).headers["Access-Control-Allow-Origin"] == "https://example.com"
        assert same(app, predict, event)


# What the endpoint is asked


def test_the_version_is_the_archive_that_is_asked_for_and_a_promotion_moves_it(app, releases):
    asked(app, rest("POST", INFER, REQUEST))
    app._loader._check_seconds = 0
    version = releases.release(scaled(3))

    answer = asked(app, rest("POST", INFER, REQUEST))

    assert (answer.json["model_version"], answer.json["outputs"][0]["data"]) == (version, [3, 6, 9])
    assert releases.runtime.asked[-1][2] == f"sample/versions/{version}/model.tar.gz"
    assert releases.runtime.asked[0][2] != releases.runtime.asked[-1][2]


def test_a_version_without_an_archive_is_not_served(releases, monkeypatch):
    releases.release(scaled(2), archive=False)

    refused = asked(started(releases, monkeypatch), rest("POST", INFER, REQUEST))

    assert 'publish it again with target = "gpu"' in refused.error(503)


def test_without_an_endpoint_the_answer_says_how_to_make_one(app, releases):
    releases.runtime.down = EndpointUnavailable("an-endpoint", "there is none yet; run: cdk deploy 'dev/*' -c gpu=on", retry_after=60)

    refused = asked(app, rest("POST", INFER, REQUEST))

    assert "cdk deploy 'dev/*' -c gpu=on" in refused.error(503)
    assert refused.headers["Retry-After"] == "60"
    assert asked(app, rest("GET", "/v2/health/live")).status == 200


def test_the_endpoint_has_the_time_that_is_left(app, releases, monkeypatch):
    given_seconds: list[float] = []

    def invoke(*_: object, seconds: float) -> None:
        given_seconds.append(seconds)
        raise DeadlineExceeded("sample", seconds)

    monkeypatch.setattr(releases.runtime, "invoke", invoke)
    for milliseconds in (10_000, 100_000):
        assert "did not answer within" in asked(app, rest("POST", INFER, REQUEST), Context(milliseconds)).error(504)

    assert 9 < given_seconds[0] <= 9.5
    assert 24 < given_seconds[1] <= 25


def test_starting_without_a_store_ends_well():
    """INIT never raises: this module was imported without one."""
    with pytest.raises(ModelNotReady):
        STORELESS(document(), Context())


# Later


def authorized(event: dict[str, Any], client: str) -> dict[str, Any]:
    event["requestContext"]["authorizer"] = {"principalId": client, "client": client, "models": "sample"}
    return event


@pytest.fixture
def later(releases, monkeypatch) -> App:
    releases.release(scaled(2))
    return started(releases, monkeypatch, later=True)


def test_a_job_is_accepted_and_answered_to_its_client(later, releases):
    accepted = asked(later, authorized(rest("POST", "/dev" + INFER, REQUEST), "shop"))
    status = f"/dev{accepted.json['status_url']}"
    waiting = asked(later, authorized(rest("GET", status), "shop"))
    releases.runtime.work()
    answer = asked(later, authorized(rest("GET", status), "shop"))
    spied = asked(later, authorized(rest("GET", status), "spy"))

    assert (accepted.status, waiting.status) == (202, 202)
    assert accepted.headers["Location"] == status.removeprefix("/dev/v2/models/sample/")
    assert accepted.headers["Retry-After"] == waiting.headers["Retry-After"] == "5"
    assert doubled(answer)
    assert "no job" in spied.error(404)


def test_a_direct_invocation_is_told_of_its_job_and_asks_by_an_event(later, releases):
    accepted = later.handler(document(), Context())
    releases.runtime.work()

    assert set(accepted) == {"id", "model_name", "model_version", "status_url"}
    assert doubled(asked(later, rest("GET", accepted["status_url"])))


def test_a_job_may_be_sent_to_the_path_of_jobs(later, releases):
    accepted = asked(later, authorized(rest("POST", "/v2/models/sample/jobs", REQUEST), "shop"))
    releases.runtime.work()

    assert accepted.status == 202
    assert doubled(asked(later, authorized(rest("GET", accepted.json["status_url"]), "shop")))


def test_a_key_that_would_not_be_remembered_is_refused(later, releases):
    refused = asked(later, rest("POST", "/v2/models/sample/jobs", REQUEST, idempotency_key="k"))

    assert "send the job without one" in refused.error(400)
    assert releases.runtime.waiting == []


def test_a_model_that_answers_at_once_says_what_to_do_with_a_job(app, releases):
    refused = asked(app, rest("POST", "/v2/models/sample/jobs", REQUEST))

    assert refused.error(404).startswith("model 'sample' takes no jobs: its endpoint answers at once; POST to /v2/models/sample/infer")
    assert releases.runtime.asked == []


def test_a_job_may_be_asked_for_in_binary(later, releases):
    body = dumped(document(parameters={"binary_data_output": True}))
    accepted = asked(later, rest("POST", INFER, body))
    releases.runtime.work()
    answer = asked(later, rest("GET", accepted.json["status_url"]))

    length = int(answer.headers["Inference-Header-Content-Length"])
    assert np.frombuffer(answer.body[length:], "f4").tolist() == [2, 4, 6]


def test_the_endpoint_is_not_woken_to_be_ready(later, releases):
    assert asked(later, rest("GET", "/v2/models/sample/ready")).status == 200
    assert releases.runtime.asked == []


def test_only_the_version_that_the_endpoint_runs_is_served(later, releases):
    """Whatever another alias names."""
    releases.release(scaled(3), "canary")

    assert "serves no version" in asked(later, rest("POST", "/v2/models/sample/versions/canary/infer", REQUEST)).error(404)


# What is logged


def told(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Lines and metrics, less what no two runs have in common."""
    found = []
    for written in entries(capfd):
        entry = comparable(written) if "_aws" in written else written
        for varying in ("timestamp", "location", "latency_ms", "Latency", "LoadTime", "frames"):
            entry.pop(varying, None)
        found.append(entry)
    return found


def test_lines_and_metrics_are_predicts(releases, monkeypatch, capfd):
    """Of a start, a first request, a mistake, a client's and one that can't be answered."""
    monkeypatch.setattr(powertools, "is_cold_start", True)
    releases.release(scaled(2))
    events = [
        rest("POST", INFER, REQUEST),
        rest("POST", INFER, b"{"),
        authorized(http("GET", "/v2/models/sample"), "shop"),
        rest("GET", "/"),
    ]
    capfd.readouterr()

    app = started(releases, monkeypatch)
    for event in events:
        asked(app, event)
    own = told(capfd)
    predict = beside(releases, app, monkeypatch)
    for event in events:
        apps.asked(predict, event)
    theirs = told(capfd)

    loaded, load_time, *answered = own
    assert [loaded, load_time] == theirs[:2]
    assert answered == theirs[2:]
    assert len(answered) == 2 * len(events)


def test_a_store_that_is_empty_is_logged_and_counted_as_by_predict(releases, monkeypatch, capfd):
    monkeypatch.setattr(powertools, "is_cold_start", True)
    capfd.readouterr()
    app = started(releases, monkeypatch)
    asked(app, rest("POST", INFER, REQUEST))
    own = told(capfd)
    apps.asked(beside(releases, app, monkeypatch), rest("POST", INFER, REQUEST))

    assert own == told(capfd)
    assert own[0]["error"] == "ModelNotReady"


def test_what_a_job_does_is_counted(releases, monkeypatch, capfd):
    releases.release(scaled(2))
    later = started(releases, monkeypatch, later=True)
    capfd.readouterr()
    accepted = asked(later, rest("POST", INFER, dumped(document(tensor([1] * 6, shape=(2, 3))))))
    asked(later, rest("GET", accepted.json["status_url"]))
    releases.runtime.work()
    asked(later, rest("GET", accepted.json["status_url"]))
    line, metric, waiting, _, answered, _ = entries(capfd)

    assert (line["status"], waiting["status"], answered["status"]) == (202, 202, 200)
    assert metric["BatchRows"] == [2]
    assert line["version"] == answered["version"] == accepted.json["model_version"]


def test_a_bug_is_answered_with_the_log_line_to_ask_for_and_the_next_request_as_ever(releases, monkeypatch, capfd):
    releases.release(scaled(2))
    app = started(releases, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(app._plane, "find", Mock(side_effect=RuntimeError("canary-5172")))
        answer = asked(app, rest("POST", INFER, REQUEST))
    output = capfd.readouterr().out

    assert Context.aws_request_id in answer.error(500)
    assert "RuntimeError" in output
    assert "canary" not in output
    assert doubled(asked(app, rest("POST", INFER, REQUEST)))


def test_memory_that_runs_out_is_answered_and_the_next_request_too(app, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(app._plane, "find", Mock(side_effect=MemoryError))
        answer = asked(app, rest("POST", INFER, REQUEST))

    assert "needs more memory for this input than its function has; send fewer rows, or raise `memory`" in answer.error(500)
    assert doubled(asked(app, rest("POST", INFER, REQUEST)))


@pytest.mark.parametrize("queued", [False, True])
@pytest.mark.parametrize("model", [identity("BYTES", ("n",)), lookup(), identity("FP32", ("n",))], ids=["text", "lookup", "numbers"])
def test_no_payload_and_no_key_reaches_a_log(releases, monkeypatch, capfd, model, queued):
    """Whatever Powertools is told by the environment."""
    monkeypatch.setenv("POWERTOOLS_LOGGER_LOG_EVENT", "true")
    releases.release(model)
    app = started(releases, monkeypatch, later=queued, nan_inputs="refuse", log_level="DEBUG")
    canary, number = "canary-5172", 517251725172

    for datatype, data in (("BYTES", [canary]), ("INT64", [number]), ("FP32", [float(number)]), ("FP32", [canary]), (canary, [1])):
        for name, keys in (("x", {}), (canary, {}), ("x", {"id": canary}), ("x", {"outputs": [{"name": canary}]})):
            body = document(tensor(data, name=name, datatype=datatype, shape=(1,)), **keys)
            asked(app, rest("POST", INFER, dumped(body), authorization=canary))
            asked(app, http("POST", f"{INFER}/{canary}", dumped(body)[:-3]))
            try:
                app.handler(body, Context())
            except ServeError:
                traceback.print_exc()  # as the runtime does with all that is raised
            releases.runtime.work()

    output = "".join(capfd.readouterr())
    assert '"message":"request"' in output
    assert "canary" not in output
    assert "51725172" not in output
