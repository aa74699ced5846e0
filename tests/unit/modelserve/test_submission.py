"""Jobs as they come in: checked as /infer checks them, kept before they are accepted, and once however often they are sent."""

from __future__ import annotations

import gzip
import hashlib
import json
import string
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any
from urllib.parse import urljoin, urlsplit

import boto3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.dynamodb.models import DynamoDBBackend

from modelserve.aws import ServiceUnavailable
from modelserve.dataplane import DataPlane
from modelserve.endpoints import Endpoints, Request, Response
from modelserve.errors import InvalidRequest, JobsNotTaken, ServeError, VersionNotFound
from modelserve.jobs import NOBODY, Job, is_id, message
from modelserve.protocol import status_of
from modelserve.record import replace
from modelserve.settings import PredictSettings
from modelserve.submission import Submissions, job_id, priority_of

from .factories import INFER, NAME, VERSION, document, error_of, loaded, strict, tensor
from .graphs import identity, session
from .queues import Queues, Table
from .runtimes import JobBucket

JOBS = f"/v2/models/{NAME}/jobs"
UPLOAD = "0123456789abcdef" * 2
NOW = 1_795_000_000
HIGH, LOW = "https://sqs/1/high", "https://sqs/1/low"
SETTINGS: dict[str, Any] = {
    "job_bucket": "jobs",
    "job_table": "jobs",
    "high_queue_url": HIGH,
    "low_queue_url": LOW,
    "high_plans": ("premium", "gold"),
}
KEYS = st.text(string.ascii_letters + string.digits + " !~-_", min_size=1, max_size=255)
PLANS = st.sampled_from([None, "trial", "standard", "premium", "gold"])


class Taking:
    """The routes of a model of [rows, 3] FP32 that takes jobs, or of another `graph`."""

    def __init__(self, graph: bytes | None = None, **settings: Any) -> None:
        self.bucket = JobBucket()
        self.table = Table()
        self.queues = Queues()
        self.settings = PredictSettings(model_name=NAME, model_bucket="models", **SETTINGS | {"max_body_bytes": 2**20} | settings)
        model = loaded(session(graph or identity()))

        def find(version: str | None) -> Any:
            if version not in (None, "production", VERSION):
                raise VersionNotFound(NAME, version)
            return model

        plane = DataPlane(find)
        self.submissions = Submissions(self.settings, plane, self.bucket, self.table, self.queues, clock=lambda: NOW)
        self.routes = Endpoints(
            NAME, plane, server_version="1", max_body_bytes=self.settings.max_body_bytes, submit=self.submissions.submit
        )

    def sent(
        self, body: Any = None, *, path: str = JOBS, client: str | None = "shop", plan: str | None = "standard", **headers: str
    ) -> Response:
        content = body if isinstance(body, bytes) else json.dumps(body or document()).encode()
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        return self.routes.answer(Request("POST", path, sent, content, client, plan=plan), seconds=20)

    def taken(self, *request: Any, **keys: Any) -> Job:
        """The job that a request has become."""
        return self.table.jobs[accepted(self.sent(*request, **keys))]


def accepted(response: Response) -> str:
    """The id of the job that `response` tells of."""
    assert response.status == 202, response.body
    found: str = strict(response.body)["id"]
    return found


def nothing_kept(taking: Taking) -> bool:
    return not (taking.bucket.objects or taking.table.jobs or taking.queues.told)


# What is kept, and what is answered


def test_a_job_is_kept_told_and_accepted():
    taking = Taking(job_days=3)
    body = json.dumps(document()).encode()
    response = taking.sent(body)
    job = accepted(response)
    kept = taking.table.jobs[job]

    assert strict(response.body) == {"id": job, "status": "queued", "model_name": NAME, "status_url": f"/v2/jobs/{job}"}
    assert (response.headers["Retry-After"], response.headers["Content-Type"]) == ("2", "application/json")
    assert taking.bucket.objects == {kept.request: [body]}
    assert kept.request.startswith(f"{NAME}/shop/{job}/request")
    assert taking.queues.told == [(LOW, message(kept), "shop")]
    assert (kept.client, kept.model, kept.version, kept.status, kept.priority, kept.attempts) == ("shop", NAME, None, "queued", "low", 0)
    assert (kept.created, kept.updated, kept.expiration) == (NOW, NOW, NOW + 3 * 86_400)


@pytest.mark.parametrize("before", ["", "/dev", "/a/b"])
@pytest.mark.parametrize(
    "path", [JOBS, f"{JOBS}/", f"/v2/models/{NAME}/versions/{VERSION}/jobs", f"/v2/models/{NAME}/versions/{VERSION}/jobs/"]
)
def test_the_location_is_where_to_ask_whatever_stands_before_the_path(before, path):
    response = Taking().sent(path=path)

    location = urljoin(f"https://host{before}{path}", response.headers["Location"])
    assert urlsplit(location).path == f"{before}{strict(response.body)['status_url']}"


def test_a_version_is_kept_as_it_was_named():
    assert Taking().taken(path=f"/v2/models/{NAME}/versions/{VERSION}/jobs").version == VERSION


def test_a_version_that_is_not_served_is_refused_at_once():
    taking = Taking()
    uploaded(taking, b"x")

    for body in (document(), {"upload": UPLOAD}):
        assert "no version 'other'" in error_of(taking.sent(body, path=f"/v2/models/{NAME}/versions/other/jobs"), 404)
    assert not taking.table.jobs


def test_who_is_no_client_is_nobody():
    taking = Taking()
    kept = taking.taken(client=None, plan=None)

    assert kept.client == NOBODY
    assert kept.request.startswith(f"{NAME}/-/{kept.id}/")
    assert taking.queues.told[0][2] == NOBODY


def test_binary_is_kept_with_the_length_of_its_header():
    described = {"name": "x", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": 12}}
    header = json.dumps({"inputs": [described]}).encode()
    body = header + np.array([1, 2, 3], "f4").tobytes()
    taking = Taking()
    kept = taking.taken(body, inference_header_content_length=str(len(header)))

    assert kept.header_length == len(header)
    assert taking.bucket.objects[kept.request] == [body]


def test_nothing_but_data_is_kept_so_too():
    kept = Taking().taken(np.arange(6, dtype="f4").tobytes(), inference_header_content_length="0")

    assert kept.header_length == 0


def test_a_compressed_request_is_kept_as_it_was_before():
    taking = Taking()
    body = json.dumps(document()).encode()
    kept = taking.taken(gzip.compress(body), content_encoding="gzip")

    assert taking.bucket.objects[kept.request] == [body]
    assert kept.digest == taking.taken(body).digest


# What is refused


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"\xff", b'"upload"', b'{"upload"', {"inputs": []}, document(tensor([1.0, 2.0], shape=(1, 2)))),
        *(document(tensor([1], datatype="INT64", shape=(1, 1))), document(outputs=[{"name": "z"}]), document(id=5)),
        *(document(upload=UPLOAD, inputs=[]), {"x": "upload"}),
    ],
    ids=repr,
)
def test_a_request_that_infer_refuses_is_refused_in_the_same_words_at_once(body):
    taking = Taking()

    assert error_of(taking.sent(body)) == error_of(taking.sent(body, path=INFER))
    assert nothing_kept(taking)


@given(st.binary(max_size=200), st.none() | st.integers(-5, 300).map(str) | st.text(max_size=5), st.sampled_from([None, "gzip", "br"]))
def test_any_bytes_are_taken_where_infer_answers_and_refused_where_it_refuses(body, length, encoding):
    headers = ({"inference_header_content_length": length} if length is not None else {}) | (
        {"content_encoding": encoding} if encoding else {}
    )
    taking = Taking()
    answer, job = taking.sent(body, path=INFER, **headers), taking.sent(body, **headers)

    assert (job.status, job.body) == ((202, job.body) if answer.status == 200 else (answer.status, answer.body))
    assert nothing_kept(taking) is (answer.status != 200)


def test_a_body_that_grows_beyond_the_limit_is_refused():
    taking = Taking(max_body_bytes=1000)

    error_of(taking.sent(gzip.compress(b" " * 2000), content_encoding="gzip"), 413)
    assert nothing_kept(taking)


def test_what_no_signature_rules_out_is_refused_where_the_model_refuses_it():
    body = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, NaN, 3]}]}'
    strict_ = Taking(nan_inputs="refuse")

    assert "NaN" in error_of(strict_.sent(body))
    assert nothing_kept(strict_)
    assert Taking().sent(body).status == 202


@pytest.mark.parametrize("element", [b"\xff", b"\xed\xa0\x80"])
def test_text_that_is_none_is_refused_as_by_infer(element):
    taking = Taking(identity("BYTES", ("rows",)))
    raw = {"inference_header_content_length": "0"}

    assert error_of(taking.sent(element, **raw)) == error_of(taking.sent(element, path=INFER, **raw))
    assert nothing_kept(taking)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_jobs_are_posted(method):
    response = Taking().routes.answer(Request(method, JOBS, {}, b""), seconds=20)

    assert "use POST" in error_of(response, 405)


# Priority


@given(PLANS)
def test_the_plan_decides_where_nothing_is_asked(plan):
    expected = "high" if plan in SETTINGS["high_plans"] else "low"
    taking = Taking()

    for body in (document(), document(parameters={}), document(parameters={"priority": 0})):
        kept = taking.taken(body, plan=plan)
        assert kept.priority == expected
        assert taking.queues.told[-1][0] == (HIGH if expected == "high" else LOW)


@given(PLANS, st.sampled_from(["low"]) | st.integers(2, 2**64))
def test_any_plan_may_ask_for_low(plan, asked):
    assert priority_of(asked, plan, ("premium",)) == "low"


@given(PLANS, st.sampled_from(["high", 1]))
def test_only_a_plan_of_high_priority_may_ask_for_it(plan, asked):
    if plan in SETTINGS["high_plans"]:
        assert priority_of(asked, plan, SETTINGS["high_plans"]) == "high"
    else:
        with pytest.raises(InvalidRequest, match="leave out the parameter"):
            priority_of(asked, plan, SETTINGS["high_plans"])


@given(
    PLANS,
    st.booleans()
    | st.floats()
    | st.text().filter(lambda text: text not in {"high", "low"})
    | st.integers(max_value=-1)
    | st.lists(st.just("high")),
)
def test_any_other_priority_is_refused_with_those_there_are(plan, asked):
    with pytest.raises(InvalidRequest, match='neither "high" nor "low"'):
        priority_of(asked, plan, SETTINGS["high_plans"])


def test_a_priority_that_is_refused_leaves_nothing():
    taking = Taking()
    error_of(taking.sent(document(parameters={"priority": "high"})))

    assert nothing_kept(taking)


# Uploads


def uploaded(taking: Taking, body: bytes, *, client: str = "shop") -> str:
    key = f"_uploads/{client}/{UPLOAD}"
    taking.bucket.objects[key] = [body]
    return key


def test_an_upload_is_the_request_of_its_job():
    taking = Taking()
    key = uploaded(taking, b"x" * 99)
    kept = taking.taken({"upload": UPLOAD})

    assert (kept.request, kept.header_length) == (key, None)
    assert taking.bucket.objects == {key: [b"x" * 99]}
    assert taking.queues.told == [(LOW, message(kept), "shop")]


def test_an_upload_has_a_priority_and_the_length_of_its_header():
    taking = Taking()
    uploaded(taking, b"x" * 99)
    kept = taking.taken({"upload": UPLOAD, "parameters": {"priority": "high", "inference_header_content_length": 99}}, plan="premium")

    assert (kept.priority, kept.header_length) == ("high", 99)


@pytest.mark.parametrize("client", ["thief", None])
def test_an_upload_is_there_for_its_own_client_only(client):
    taking = Taking()
    uploaded(taking, b"x", client="shop" if client else "thief")

    assert f"no upload '{UPLOAD}' of this caller" in error_of(taking.sent({"upload": UPLOAD}, client=client), 404)
    assert not taking.table.jobs


@given(
    st.text(max_size=40)
    | st.sampled_from([f"../shop/{UPLOAD}", UPLOAD.upper(), UPLOAD + "\n"])
    | st.none()
    | st.integers()
    | st.lists(st.text())
)
def test_what_is_no_id_of_an_upload_is_not_looked_for(upload):
    taking = Taking()

    assert "32 hex digits" in error_of(taking.sent({"upload": upload}))
    assert taking.bucket.calls == []


@pytest.mark.parametrize(
    ("pointer", "told"),
    [
        ({"parameters": []}, "'parameters'"),
        ({"parameters": "low"}, "'parameters'"),
        ({"parameters": {"inference_header_content_length": 11}}, "from 0 to 10, the size of the upload"),
        ({"parameters": {"inference_header_content_length": -1}}, "from 0 to 10"),
        ({"parameters": {"inference_header_content_length": True}}, "from 0 to 10"),
        ({"parameters": {"priority": "high"}}, "no jobs of high priority"),
    ],
)
def test_a_pointer_that_does_not_fit_is_refused(pointer, told):
    taking = Taking()
    uploaded(taking, b"x" * 10)

    assert told in error_of(taking.sent({"upload": UPLOAD, **pointer}))
    assert not taking.table.jobs


@pytest.mark.parametrize(("size", "status"), [(0, 400), (2**20, 202), (2**20 + 1, 413)])
def test_an_upload_has_a_size(size, status):
    taking = Taking(upload_megabytes=1)
    uploaded(taking, bytes(size))

    assert taking.sent({"upload": UPLOAD}).status == status


@pytest.mark.parametrize(
    ("size", "parameters", "status"),
    [
        (1000, {}, 202),
        (1001, {}, 413),
        (5000, {"inference_header_content_length": 1000}, 202),
        (5000, {"inference_header_content_length": 1001}, 413),
    ],
)
def test_an_upload_has_no_more_json_than_can_be_read(size, parameters, status):
    taking = Taking(max_json_bytes=1000)
    uploaded(taking, bytes(size))
    response = taking.sent({"upload": UPLOAD, "parameters": parameters})

    assert response.status == status
    assert bool(taking.table.jobs) is (status == 202)
    if status == 413:
        assert "larger than 1,000 bytes; send numbers as binary data" in error_of(response, 413)


def test_a_body_has_no_more_json_than_the_function_of_jobs_can_read():
    """A model may have more memory than that."""
    body = json.dumps(document()).encode()

    assert Taking(max_json_bytes=len(body)).sent(body).status == 202
    assert Taking(max_json_bytes=len(body) - 1).sent(body).status == 413


# Idempotency


@given(KEYS, st.integers(2, 5))
def test_the_same_request_under_one_key_is_one_job(key, times):
    taking = Taking()
    responses = [taking.sent(idempotency_key=key) for _ in range(times)]

    assert len({(each.status, each.body) for each in responses}) == 1
    assert len(taking.table.jobs) == len(taking.bucket.objects) == 1
    (kept,) = taking.table.jobs.values()
    # Whoever kept it may have died before it told the queue.
    assert taking.queues.told == [(LOW, message(kept), "shop")] * times


def test_without_a_key_each_request_is_a_job():
    taking = Taking()

    assert len({accepted(taking.sent()) for _ in range(50)}) == 50
    assert taking.table.reads == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"body": document(tensor([1.0, 2.0, 4.0]))},
        {"body": document(parameters={"priority": "low"})},
        {"path": f"/v2/models/{NAME}/versions/production/jobs"},
        {"body": {"upload": UPLOAD}},
        {"inference_header_content_length": str(len(json.dumps(document())))},
    ],
)
def test_another_request_under_the_same_key_is_refused(changed):
    taking = Taking()
    uploaded(taking, b"x")
    job = taking.taken(idempotency_key="k")
    before = set(taking.bucket.objects)
    refused = taking.sent(changed.get("body"), idempotency_key="k", **{name: each for name, each in changed.items() if name != "body"})

    assert "Idempotency-Key" in error_of(refused, 422)
    assert taking.table.jobs == {job.id: job}
    assert taking.bucket.objects.keys() == before  # which would keep what nobody is told of, nor can delete
    assert len(taking.queues.told) == 1


def test_a_job_that_has_begun_is_told_of_and_not_sent_again():
    taking = Taking()
    job = taking.taken(idempotency_key="k")
    taking.table.jobs[job.id] = replace(job, status="succeeded")
    again = taking.sent(idempotency_key="k")

    assert (again.status, strict(again.body)["id"], strict(again.body)["status"]) == (202, job.id, "succeeded")
    assert len(taking.queues.told) == 1


def test_a_plan_that_changed_meanwhile_is_no_other_request():
    taking = Taking()
    job = taking.taken(idempotency_key="k", plan="premium")

    assert taking.taken(idempotency_key="k", plan="trial") == job
    assert [url for url, _, _ in taking.queues.told] == [HIGH, HIGH]


PARTS = st.tuples(st.from_regex(r"-|[a-z][a-z0-9-]{0,31}", fullmatch=True), st.from_regex(r"[a-z][a-z0-9_]{0,47}", fullmatch=True), KEYS)


@given(PARTS, PARTS)
def test_a_key_is_its_clients_and_its_models_own(one, other):
    assert is_id(job_id(*one))
    assert (job_id(*one) == job_id(*other)) is (one == other)
    assert job_id(*one) == hashlib.sha256("\0".join(one).encode()).hexdigest()[:32]


@pytest.mark.parametrize("key", ["", "x" * 256, "ü", "a\tb", "a\n", "a\0", "\x7f"])
def test_a_key_of_another_form_is_refused(key):
    taking = Taking()

    assert "expected 1 to 255" in error_of(taking.sent(idempotency_key=key))
    assert nothing_kept(taking)


@pytest.mark.parametrize("key", [" ", "~" * 255, '"quoted"'])
def test_any_printable_key_is_taken(key):
    assert Taking().sent(idempotency_key=key).status == 202


# Faults


def test_a_queue_that_is_down_is_told_when_the_request_comes_again():
    """The item is kept by then: nothing is lost, and nothing doubled."""
    taking = Taking()
    taking.queues.down = ServiceUnavailable("sqs", "SendMessage", "HTTP 503")
    refused = taking.sent(idempotency_key="k")
    taking.queues.down = None
    job = taking.taken(idempotency_key="k")

    assert "sqs could not answer" in error_of(refused, 503)
    assert refused.headers["Retry-After"] == "1"
    assert taking.table.jobs == {job.id: job}
    assert taking.queues.told == [(LOW, message(job), "shop")]


def test_a_store_that_is_down_accepts_nothing():
    taking = Taking()
    taking.bucket.down = "HTTP 503"

    error_of(taking.sent(), 503)
    assert nothing_kept(taking)


@pytest.mark.parametrize("missing", ["job_bucket", "job_table", "high_queue_url", "low_queue_url"])
def test_without_a_place_for_jobs_none_is_taken(missing):
    settings = PredictSettings(model_name=NAME, model_bucket="models", **SETTINGS | {missing: ""})

    with pytest.raises(JobsNotTaken, match=r"takes no jobs: .*deploy the stacks again"):
        Submissions.from_environ(settings, DataPlane(lambda _: loaded(session(identity()))), {})


# On moto: S3, DynamoDB and SQS over their own protocols


@pytest.fixture
def whole(moto_url, monkeypatch) -> Iterator[tuple[Submissions, Any]]:
    """Jobs as a function takes them, and a function that gives boto3's client of a service."""
    made: Any = boto3.Session("local", "local", region_name="us-east-1")

    def client(name: str) -> Any:
        return made.client(name, endpoint_url=moto_url)

    one_at_a_time(monkeypatch)
    client("s3").create_bucket(Bucket="taken")
    schema: Any = [{"AttributeName": "id", "KeyType": "HASH"}]
    attributes: Any = [{"AttributeName": "id", "AttributeType": "S"}]
    client("dynamodb").create_table(TableName="taken", KeySchema=schema, AttributeDefinitions=attributes, BillingMode="PAY_PER_REQUEST")
    urls = {f"{priority}_queue_url": client("sqs").create_queue(QueueName=f"taken-{priority}")["QueueUrl"] for priority in ("high", "low")}
    settings = PredictSettings(model_name=NAME, model_bucket="models", job_bucket="taken", job_table="taken", **urls)
    environ = {"AWS_ENDPOINT_URL": moto_url, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    model = loaded(session(identity()))
    yield Submissions.from_environ(settings, DataPlane(lambda _: model), environ), client
    client("dynamodb").delete_table(TableName="taken")
    for url in urls.values():
        client("sqs").delete_queue(QueueUrl=url)
    s3 = client("s3")
    for found in s3.list_objects_v2(Bucket="taken").get("Contents", ()):
        s3.delete_object(Bucket="taken", Key=found["Key"])
    s3.delete_bucket(Bucket="taken")


def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As DynamoDB writes an item; moto looks at the condition and writes without a lock."""
    put, lock = DynamoDBBackend.put_item, Lock()

    def locked(*args: Any, **keys: Any) -> Any:
        with lock:
            return put(*args, **keys)

    monkeypatch.setattr(DynamoDBBackend, "put_item", locked)


def submitted(submissions: Submissions, body: bytes, key: str) -> Response | ServeError:
    try:
        return submissions.submit(None, Request("POST", JOBS, {"idempotency-key": key}, body, "shop", plan="trial"))
    except ServeError as error:
        return error


def test_the_same_job_sent_a_hundred_times_at_once_is_one(whole):
    submissions, client = whole
    body = json.dumps(document()).encode()
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: submitted(submissions, body, "once"), range(100)))

    jobs = {accepted(answer) for answer in answers if isinstance(answer, Response)}
    assert len(answers) == 100
    assert all(isinstance(answer, Response) for answer in answers), answers
    assert len(jobs) == 1
    assert [item["id"]["S"] for item in client("dynamodb").scan(TableName="taken")["Items"]] == [*jobs]
    (kept,) = client("s3").list_objects_v2(Bucket="taken")["Contents"]
    assert client("s3").get_object(Bucket="taken", Key=kept["Key"])["Body"].read() == body


def test_of_two_jobs_at_once_under_one_key_one_is_taken_with_its_own_body(whole):
    submissions, client = whole
    bodies = [json.dumps(document(tensor([1.0, 2.0, float(number)]))).encode() for number in range(8)]
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda body: submitted(submissions, body, "mixed"), bodies * 3))

    taken = {body for body, answer in zip(bodies * 3, answers, strict=True) if isinstance(answer, Response)}
    refused = [answer for answer in answers if isinstance(answer, ServeError)]
    (item,) = client("dynamodb").scan(TableName="taken")["Items"]
    kept = client("s3").get_object(Bucket="taken", Key=item["request"]["S"])["Body"].read()
    assert taken == {kept}
    assert [status_of(error) for error in refused] == [422] * 21


def test_an_upload_in_s3_is_found_by_its_size(whole):
    submissions, client = whole
    client("s3").put_object(Bucket="taken", Key=f"_uploads/shop/{UPLOAD}", Body=b"x" * 100)
    pointer = json.dumps({"upload": UPLOAD}).encode()

    taken = submitted(submissions, pointer, "a")
    assert isinstance(taken, Response)
    missing = submitted(submissions, pointer.replace(b"0", b"1"), "b")
    assert isinstance(missing, ServeError)
    assert status_of(missing) == 404
    (item,) = client("dynamodb").scan(TableName="taken")["Items"]
    assert item["request"]["S"] == f"_uploads/shop/{UPLOAD}"
