"""Requests that are answered later: what is kept of them, for whom, and that the answer is the one that infer gives."""

import json
import re
from typing import Any
from unittest.mock import Mock
from urllib.parse import urljoin, urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from modelserve.async_jobs import AsyncJobs, only
from modelserve.dataplane import DataPlane
from modelserve.endpoints import BEFORE_V2, Endpoints, Request, Response
from modelserve.errors import EndpointUnavailable, StoreUnavailable
from modelserve.sagemaker import EXPIRES_SECONDS

from .factories import INFER, NAME, VERSION, document, error_of, get, post, server, strict, tensor
from .graphs import filled, identity, identity_session, lookup, pair, scaled
from .runtimes import BUCKET, Runtime, behind
from .strategies import tensors

OTHER = "20261121T174100Z-5e6f7a8b"


class Later:
    """The routes of a model behind a queue, at a time that a test sets."""

    def __init__(self, model: bytes | None = None, *, labels: tuple[str, ...] = (), **settings: Any) -> None:
        self.runtime = Runtime(model or scaled(2))
        self.bucket = self.runtime.bucket
        self.now = 1_795_000_000.0
        self.model = behind(self.runtime, labels=labels, **settings)
        plane = DataPlane(only("production", lambda _version: self.model))
        jobs = AsyncJobs(NAME, plane, self.runtime, self.bucket, BUCKET, clock=lambda: self.now)
        self.routes = Endpoints(NAME, plane, server_version="1", max_body_bytes=2**20, jobs=jobs)

    def sent(self, body: Any = None, *, client: str | None = None, path: str = INFER, header_length: int | None = None) -> Response:
        content = body if isinstance(body, bytes) else json.dumps(body or document()).encode()
        headers = {} if header_length is None else {"inference-header-content-length": str(header_length)}
        return self.routes.answer(Request("POST", path, headers, content, client), seconds=20)

    def asked(self, job: str, *, client: str | None = None, method: str = "GET") -> Response:
        return self.routes.answer(Request(method, f"/v2/models/{NAME}/jobs/{job}", {}, b"", client), seconds=20)

    def answered(self, *request: Any, **keys: Any) -> Response:
        """The answer to a request that the endpoint has come to."""
        job = accepted(self.sent(*request, **keys))
        self.runtime.work()
        return self.asked(job)


def accepted(response: Response) -> str:
    """The id of the job that `response` tells of."""
    assert response.status == 202, response.body
    found: str = strict(response.body)["id"]
    return found


def same(one: Response, other: Response) -> bool:
    return (one.status, one.headers, one.body) == (other.status, other.headers, other.body)


# The answer


@given(st.booleans(), st.booleans(), st.sampled_from([None, "an id", "☃"]), st.data())
def test_the_answer_is_the_one_that_infer_gives(binary, named, number, data):
    """The same graph within the function and behind a queue: to the byte, or to the number where JSON has a choice of digits."""
    datatype, array = data.draw(tensors(binary=binary).filter(lambda drawn: drawn[0] != "BF16" and drawn[1].shape))
    given_input = InferInput("x", list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary)
    outputs = [InferRequestedOutput("y", binary_data=binary)] if named else None
    body, length = InferenceServerClient.generate_request_body([given_input], outputs=outputs, request_id=number or "")
    model = identity(datatype, tuple(f"d{axis}" for axis in range(array.ndim)))

    found = Later(model).answered(body, header_length=length)
    expected = post(server(identity_session(datatype, array.ndim)), body, header_length=length)

    assert (found.status, found.headers) == (200, expected.headers)
    if "Inference-Header-Content-Length" in expected.headers:
        assert found.body == expected.body
    else:
        number_of = np.float32 if datatype == "FP32" else float
        assert json.loads(found.body, parse_float=number_of) == json.loads(expected.body, parse_float=number_of)
    assert found.version == VERSION


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"id": "7", "parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "difference", "parameters": {"binary_data": True}}, {"name": "total"}]},
        {"outputs": [{"name": "total", "parameters": {"classification": 1}}], "id": "8"},
        {"outputs": [{"name": "total", "parameters": {"classification": 9, "binary_data": True}}]},
    ],
    ids=str,
)
def test_outputs_come_as_they_were_asked_for(asked):
    body = document(*(tensor([1, 2, 3, 5], name=name, shape=(2, 2)) for name in ("a", "b")), **asked)

    found = Later(pair(), labels=("no", "yes")).answered(body)

    assert found.status == 200
    assert same(found, post(server(pair(), labels=("no", "yes")), body))


def test_a_raw_body_is_answered():
    body = np.array([1, 2, 3], "f4").tobytes()

    assert same(Later().answered(body, header_length=0), post(server(scaled(2)), body, header_length=0))


def test_what_the_model_refuses_is_the_error_that_infer_gives():
    body = document(tensor([9], datatype="INT64", shape=(1,)))

    found = Later(lookup()).answered(body)

    assert "could not run on this input: indices element out of data bounds" in error_of(found)
    assert same(found, post(server(lookup()), body))


def test_an_answer_over_the_limit_is_refused_as_at_once():
    body = document(tensor([4_000_000], datatype="INT64", shape=(1,)))

    assert "the answer is larger than" in error_of(Later(filled()).answered(body), 413)


def test_an_answer_that_is_larger_than_any_that_fits_is_not_even_read():
    later = Later(filled())
    found = later.answered(document(tensor([7_000_000], datatype="INT64", shape=(1,))))

    assert "the answer is larger than 6,291,456 bytes; send fewer rows" in error_of(found, 413)


@pytest.mark.parametrize("broken", [b"", b"no answer", b"{}", b'{"outputs":[]}', b"[" * 100_000])
def test_an_answer_that_is_none_is_unavailable(broken):
    later = Later()
    job = accepted(later.sent())
    later.runtime.work()
    (key,) = [key for key in later.bucket.objects if key.endswith(".out")]
    later.bucket.alter(key, broken)

    assert "does not fit its manifest" in error_of(later.asked(job), 503)


def test_an_answer_is_of_the_version_that_was_asked_whatever_is_promoted_meanwhile():
    """Its outputs and labels too."""
    later = Later(labels=("a", "b", "c"))
    job = accepted(later.sent(document(outputs=[{"name": "y", "parameters": {"classification": 1}}])))
    later.runtime.work()
    later.model = behind(Runtime(lookup()), labels=("other", "labels", "now"), version=OTHER)

    answer = later.asked(job)

    assert strict(answer.body)["model_version"] == answer.version == VERSION
    assert strict(answer.body)["outputs"][0]["data"] == ["6.000000:2:c"]


def test_an_answer_of_the_version_that_was_promoted_meanwhile_says_so():
    """Whoever runs the queue's requests by now: with its labels, under its name."""
    later = Later(labels=("a", "b", "c"))
    job = accepted(later.sent(document(outputs=[{"name": "y", "parameters": {"classification": 1}}])))
    later.runtime.version, later.runtime.graph = OTHER, scaled(3)
    later.runtime.work()

    assert "of it answered" in error_of(later.asked(job), 503)  # nobody knows yet whether it will be promoted
    later.model = behind(later.runtime, labels=("d", "e", "f"), version=OTHER)
    answer = later.asked(job)

    assert strict(answer.body)["model_version"] == answer.version == OTHER
    assert strict(answer.body)["outputs"][0]["data"] == ["9.000000:2:f"]


def test_asking_again_gives_the_same_answer():
    later = Later()
    job = accepted(later.sent())
    later.runtime.work()
    first = later.asked(job)
    before = dict(later.bucket.objects)

    assert first.status == 200
    assert all(same(first, later.asked(job, method=method)) for method in ("GET", "HEAD", "GET"))
    assert later.bucket.objects == before


# Waiting


def test_a_request_is_accepted_with_where_its_answer_will_be():
    later = Later()
    accepting = later.sent(document(tensor([1] * 6, shape=(2, 3))))
    job = accepted(accepting)
    waiting = later.asked(job)

    assert (
        strict(accepting.body)
        == strict(waiting.body)
        == {
            "id": job,
            "model_name": NAME,
            "model_version": VERSION,
            "status_url": f"/v2/models/{NAME}/jobs/{job}",
        }
    )
    assert (accepting.rows, accepting.version, waiting.rows, waiting.version) == (2, VERSION, 0, VERSION)
    assert accepting.headers == {"Content-Type": "application/json", "Retry-After": "5", "Location": f"jobs/{job}"}
    assert (waiting.status, waiting.headers) == (202, {"Content-Type": "application/json", "Retry-After": "5"})


@given(
    st.sampled_from(["", "/dev", "/prod/ml"]),
    st.sampled_from([f"/v2/models/{NAME}", f"/v2/models/{NAME}/versions/production", f"/v2/models/{NAME}/versions/{VERSION}"]),
    st.sampled_from(["/infer", "/infer/"]),
)
def test_the_location_leads_to_the_job_from_wherever_it_was_sent(prefix, model, infer):
    """The function doesn't see what stands before the protocol's path, so the address is a relative one."""
    later, url = Later(), f"https://example.com{prefix}{model}{infer}"
    response = later.sent(path=BEFORE_V2.sub("", urlsplit(url).path))

    assert urljoin(url, response.headers["Location"]) == f"https://example.com{prefix}{strict(response.body)['status_url']}"


def test_a_job_that_nobody_answered_expires_and_says_what_to_do():
    later = Later()
    job = accepted(later.sent())
    later.now += EXPIRES_SECONDS
    assert later.asked(job).status == 202
    later.now += 1

    text = error_of(later.asked(job), 504)

    assert "was not answered within 7 hours and has expired; send the request again" in text


def test_an_answer_that_came_late_is_given_all_the_same():
    later = Later()
    job = accepted(later.sent())
    later.runtime.work()
    later.now += 2 * EXPIRES_SECONDS

    assert later.asked(job).status == 200


# Whose job it is


def test_a_job_is_its_clients_alone():
    """Of somebody else's job a client hears what it hears of one that never was."""
    later = Later()
    job = accepted(later.sent(client="shop"))
    later.runtime.work()

    assert later.asked(job, client="shop").status == 200
    for other in ("spy", None, "sho", "-"):
        assert error_of(later.asked(job, client=other), 404) == error_of(Later().asked(job, client=other), 404)


def test_a_job_of_nobody_is_nobodys():
    later = Later()
    job = accepted(later.sent())
    later.runtime.work()

    assert later.asked(job).status == 200
    assert later.asked(job, client="shop").status == 404


@given(st.text(max_size=40) | st.sampled_from(["..", "%2e%2e", "0" * 31, "A" * 32, "0" * 32 + "\n", f"{'0' * 32}/request"]))
def test_what_is_no_id_is_not_looked_for(job):
    later = Later()

    assert later.asked(job).status == (404 if job.strip("/") else 405)
    assert later.bucket.calls == []


def test_no_id_is_given_twice():
    ids = [accepted(Later().sent()) for _ in range(99)]

    assert all(re.fullmatch("[0-9a-f]{32}", job) for job in ids)
    assert len(set(ids)) == len(ids)


def test_what_has_been_deleted_is_not_found():
    later = Later()
    job = accepted(later.sent())
    later.bucket.objects.clear()

    assert "the request is to be sent again" in error_of(later.asked(job), 404)


# What is kept


def test_keys_are_of_the_model_the_client_and_the_job():
    later = Later()
    job = accepted(later.sent(client="shop"))
    later.runtime.work()

    assert sorted(later.bucket.objects) == sorted([f"{NAME}/shop/{job}/request", f"{NAME}/shop/{job}/job.json", f"{NAME}/answers/0.out"])


def test_nothing_of_an_input_is_kept_beside_the_request():
    later = Later(identity("BYTES"))
    job = accepted(later.sent(document(tensor(["canary-5172"] * 3, datatype="BYTES"))))

    assert b"canary-5172" in later.bucket.objects[f"{NAME}/-/{job}/request"][0]
    assert b"canary-5172" not in later.bucket.objects[f"{NAME}/-/{job}/job.json"][0]


def test_a_write_whose_answer_got_lost_is_written(monkeypatch):
    """The next attempt meets what the first one wrote."""
    later = Later()
    written = later.bucket.put

    def put(key: str, body: bytes) -> None:
        written(key, body)
        written(key, body)

    with monkeypatch.context() as losing:
        losing.setattr(later.bucket, "put", put)
        job = accepted(later.sent())
    later.runtime.work()

    assert later.asked(job).status == 200


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (document(tensor([1, 2], shape=(1, 2))), "expected [-1, 3]"),
        (document(tensor([1, 2, 3], name="z")), "there is no input 'z'"),
        (document(outputs=[{"name": "z"}]), "there is no output 'z'"),
        (document(tensor([1, float("nan"), 3])), "NaN or infinity"),
        ({"inputs": []}, "'inputs' is missing or empty"),
    ],
)
def test_what_no_run_could_take_is_refused_before_anything_is_kept(body, told):
    later = Later(refuse_nan=True)

    assert told in error_of(later.sent(body))
    assert (later.bucket.objects, later.runtime.waiting) == ({}, [])


@pytest.mark.parametrize("version", [OTHER, "canary", "staging", "Production"])
def test_only_the_version_that_the_endpoint_runs_answers(version):
    later = Later()

    assert later.sent(path=f"/v2/models/{NAME}/versions/{VERSION}/infer").status == 202
    assert "serves no version" in error_of(later.sent(path=f"/v2/models/{NAME}/versions/{version}/infer"), 404)
    assert get(later.routes, f"/v2/models/{NAME}/versions/{version}").status == 404
    assert get(later.routes, f"/v2/models/{NAME}/versions/production/ready").status == 200


# What is down


def test_a_queue_that_refuses_leaves_no_job():
    later = Later()
    later.runtime.down = EndpointUnavailable("an-endpoint", "there is none yet; run: modelctl promote", retry_after=60)
    refused = later.sent()

    assert "run: modelctl promote" in error_of(refused, 503)
    assert refused.headers["Retry-After"] == "60"
    assert [key.rpartition("/")[2] for key in later.bucket.objects] == ["request"]


def test_a_bucket_that_refuses_is_told(monkeypatch):
    later = Later()
    monkeypatch.setattr(later.bucket, "put", Mock(side_effect=StoreUnavailable("a key", "HTTP 403 AccessDenied")))
    assert "HTTP 403 AccessDenied" in error_of(later.sent(), 503)

    later.bucket.down = "HTTP 503 SlowDown"
    assert "HTTP 503 SlowDown" in error_of(later.asked("0" * 32), 503)


# Routes


def test_a_job_can_be_read_and_nothing_else():
    later = Later()
    job = accepted(later.sent())
    refused = later.asked(job, method="DELETE")

    assert "use GET" in error_of(refused, 405)
    assert get(later.routes, f"/v2/models/{NAME}/versions/production/jobs/{job}").status == 404
    assert get(later.routes, f"/v2/models/{NAME}/jobs").status == 405


def test_a_request_may_be_sent_to_the_path_of_jobs_too():
    """As to a model that runs within its function: who sends jobs need not know what runs the model."""
    later = Later()
    response = later.sent(path=f"/v2/models/{NAME}/jobs")
    job = accepted(response)
    later.runtime.work()

    assert urljoin(f"http://host/stage/v2/models/{NAME}/jobs", response.headers["Location"]).endswith(f"/stage/v2/models/{NAME}/jobs/{job}")
    assert same(later.asked(job), later.answered(path=INFER))


def test_a_model_that_answers_at_once_has_no_jobs():
    assert "no route" in error_of(get(server(), f"/v2/models/{NAME}/jobs/{'0' * 32}"), 404)
