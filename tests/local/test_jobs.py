"""Jobs over the whole app: sent through the API, run by the worker, answered as /infer answers."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urljoin, urlsplit

import numpy as np
import pytest

from tests.local.releases import eventually, request, send

pytestmark = [
    pytest.mark.xdist_group("release"),
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program"),
]

JOBS, INFER = "/v2/models/sturdy/jobs", "/v2/models/sturdy/infer"


@pytest.fixture(scope="module")
def key(release):
    return release.new_client("sender", models=("sturdy", "heavy"))


@pytest.fixture
def ask(release, key):
    def ask(method, path, body=b"", **headers):
        return send(release.url, method, path, body, {"Authorization": f"Bearer {key}", **headers})

    return ask


@pytest.fixture(autouse=True)
def sturdy(served):
    served("sturdy").release_scaled(3)


@pytest.fixture
def answered(ask):
    """What became of an accepted job, and its result."""

    def answered(accepted):
        assert accepted.status == 202, accepted.body
        status = json.loads(accepted.body)["status_url"]
        last = eventually(lambda: ask("GET", status), lambda answer: json.loads(answer.body).get("status") in {"succeeded", "failed"})
        return json.loads(last.body), ask("GET", f"{status}/result")

    return answered


def test_a_job_is_answered_as_infer_answers(ask, answered):
    accepted = ask("POST", JOBS, request())
    state, result = answered(accepted)
    at_once = ask("POST", INFER, request())

    assert urlsplit(urljoin(f"http://host/release{JOBS}", accepted.headers["Location"])).path == f"/release{state['status_url']}"
    assert (state["status"], state["model_name"], state["priority"]) == ("succeeded", "sturdy", "low")
    assert (result.status, json.loads(result.body)) == (200, json.loads(at_once.body))


def test_a_job_in_binary_is_answered_in_binary(ask, answered):
    described = {"name": "x", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": 12}}
    header = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    body = header + np.array([1, 2, 3], "f4").tobytes()
    _, result = answered(ask("POST", JOBS, body, **{"Inference-Header-Content-Length": str(len(header))}))

    length = int(result.headers["Inference-Header-Content-Length"])
    assert np.frombuffer(result.body[length:], "f4").tolist() == [3, 6, 9]


def test_an_upload_larger_than_a_request_may_be_is_a_job(ask, answered):
    rows = 600_000
    described = {"name": "x", "datatype": "FP32", "shape": [rows, 3], "parameters": {"binary_data_size": rows * 12}}
    header = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    body = header + np.ones((rows, 3), "f4").tobytes()
    upload = json.loads(ask("POST", "/v2/uploads", json.dumps({"size": len(body)}).encode()).body)
    where = urlsplit(upload["url"])
    put = send(f"{where.scheme}://{where.netloc}", "PUT", f"{where.path}?{where.query}", body, upload["headers"])
    pointer = {"upload": upload["id"], "parameters": {"inference_header_content_length": len(header)}}

    assert put.status == 200
    state, result = answered(ask("POST", JOBS, json.dumps(pointer).encode()))
    assert state["status"] == "succeeded", state
    assert result.status == 303  # to where all 7 MB of it are
    assert ask("POST", JOBS, json.dumps({"upload": "0" * 32}).encode()).status == 404


def test_a_request_that_infer_refuses_is_no_job(ask):
    refused = ask("POST", JOBS, b'{"inputs": []}')

    assert (refused.status, refused.body) == (400, ask("POST", INFER, b'{"inputs": []}').body)


def test_one_key_is_one_job_that_runs_once_however_often_it_comes(ask, release, answered):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask("POST", JOBS, request(), **{"Idempotency-Key": "once"}), range(100)))
    other = ask("POST", JOBS, request(rows=2), **{"Idempotency-Key": "once"})

    assert {answer.status for answer in answers} == {202}, {answer.body for answer in answers if answer.status != 202}
    (job,) = {json.loads(answer.body)["id"] for answer in answers}
    assert answered(answers[0])[0]["status"] == "succeeded"
    kept = release.cloud.client("dynamodb").get_item(TableName=release.outputs["JobTable"], Key={"id": {"S": job}})
    assert kept["Item"]["attempts"] == {"N": "1"}
    assert (other.status, "Idempotency-Key" in json.loads(other.body)["error"]) == (422, True)


def test_a_heavy_model_that_answers_at_once_says_what_to_do_with_a_job(ask):
    refused = ask("POST", "/v2/models/heavy/jobs", request())

    assert (refused.status, "its endpoint answers at once" in json.loads(refused.body)["error"]) == (404, True)
