"""What a client hears of its jobs and uploads, against moto's DynamoDB and S3."""

from __future__ import annotations

import base64
import json
import os
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelserve.aws import JsonService
from modelserve.errors import StoreUnavailable
from modelserve.jobs import Job, JobTable, to_item, upload_key
from modelserve.proxy import from_event
from modelserve.record import replace
from modelserve.s3 import S3Bucket
from modelserve.settings import JobsSettings
from tests.unit.invocations import Context, lines, logged

NAMES = {"JOB_BUCKET": "jobs-bucket", "JOB_TABLE": "jobs-table"}
NOW = 1_800_000_000
ANSWER = b'{"model_name":"fruit","outputs":[]}'
JOB = Job(
    id="0123456789abcdef" * 2,
    client="shop",
    model="fruit",
    priority="low",
    created=NOW - 10,
    updated=NOW - 5,
    expiration=NOW + 1000,
    request="fruit/shop/" + "0123456789abcdef" * 2 + "/request-0123456789abcdef",
    digest="0" * 64,
)
DONE = replace(JOB, status="succeeded", result_size=len(ANSWER), model_version="20261120T174100Z-1a2b3c4d")
FAILED = replace(JOB, status="failed", error="input 'x' is missing", error_status=400)
NEVER = "f" * 32


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)


@pytest.fixture(scope="module")
def environ(moto_url: str) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    return {**NAMES, **keys, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": moto_url}


@pytest.fixture(scope="module")
def modules(environ: dict[str, str]) -> Any:
    """The handler's module reads its environment when it is imported, as Lambda does."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in environ.items():
            environment.setenv(name, value)
        from functions.jobs import answers, handler

    return answers, handler


def client(name: Any, url: str) -> Any:
    return boto3.client(name, endpoint_url=url, region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local")


@pytest.fixture(scope="module")
def s3(moto_url: str) -> Any:
    made = client("s3", moto_url)
    made.create_bucket(Bucket=NAMES["JOB_BUCKET"])
    return made


@pytest.fixture(scope="module")
def dynamodb(moto_url: str) -> Iterator[Any]:
    made = client("dynamodb", moto_url)
    schema = [{"AttributeName": "id", "KeyType": "HASH"}]
    attributes = [{"AttributeName": "id", "AttributeType": "S"}]
    made.create_table(TableName=NAMES["JOB_TABLE"], KeySchema=schema, AttributeDefinitions=attributes, BillingMode="PAY_PER_REQUEST")
    yield made
    made.delete_table(TableName=NAMES["JOB_TABLE"])


@pytest.fixture(scope="module")
def kept(dynamodb: Any, s3: Any) -> Callable[..., Job]:
    """Puts a job into the table, in the place of the one before, and its bodies into the bucket."""

    def keep(job: Job, result: bytes | None = None) -> Job:
        dynamodb.put_item(TableName=NAMES["JOB_TABLE"], Item=to_item(job))
        s3.put_object(Bucket=NAMES["JOB_BUCKET"], Key=job.request, Body=b"asked")
        if result is not None:
            s3.put_object(Bucket=NAMES["JOB_BUCKET"], Key=job.result, Body=result)
        return job

    return keep


@pytest.fixture(scope="module")
def made(modules: Any, environ: dict[str, str], dynamodb: Any, s3: Any) -> Callable[..., Any]:
    """A handler of these jobs."""
    del dynamodb, s3  # they are to be there
    answers, handler = modules

    def make(*, cors_origin: str = "", clock: Callable[[], float] = lambda: NOW, table: Any = None, bucket: Any = None) -> Any:
        settings = JobsSettings(job_bucket=NAMES["JOB_BUCKET"], job_table=NAMES["JOB_TABLE"], upload_megabytes=2, cors_origin=cors_origin)
        table = table or JobTable(JsonService.from_environ("dynamodb", environ), NAMES["JOB_TABLE"])
        bucket = bucket or S3Bucket.from_environ(NAMES["JOB_BUCKET"], environ)
        return handler.make_handler(settings, answers.Jobs(settings, table, bucket, clock=clock))

    return make


@pytest.fixture(scope="module")
def call(made: Callable[..., Any]) -> Callable[..., Answer]:
    """Sends an event as a REST API would and reads the answer as a client would."""

    def send(method: str, path: str, body: bytes = b"", *, who: str | None = "shop", stage: str = "", **options: Any) -> Answer:
        answer = made(**options)(event(method, stage + path, body, who), Context())
        assert all(isinstance(value, str) for value in answer["headers"].values())
        content = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"].encode()
        return Answer(answer["statusCode"], answer["headers"], content)

    return send


def event(method: str, path: str, body: bytes = b"", who: str | None = "shop") -> dict[str, Any]:
    return {
        "httpMethod": method,
        "path": path,
        "headers": {"Authorization": "Bearer canary-5172"},
        "requestContext": {"stage": "dev"} | ({"authorizer": {"client": who}} if who else {}),
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def path(job: Job, rest: str = "") -> str:
    return f"/v2/jobs/{job.id}{rest}"


# What became of a job


@pytest.mark.parametrize("stage", ["", "/dev", "/a/base/path"])
@pytest.mark.parametrize("status", ["queued", "running"])
def test_a_job_under_way_says_when_to_ask_again(call, kept, status, stage):
    job = kept(replace(JOB, status=status))

    answer = call("GET", path(job), stage=stage)

    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.body == {
        "id": job.id,
        "status": status,
        "model_name": "fruit",
        "priority": "low",
        "created": NOW - 10,
        "updated": NOW - 5,
        "status_url": path(job),
    }


def test_a_job_that_succeeded_says_where_its_result_is_and_who_gave_it(call, kept):
    job = kept(DONE, ANSWER)

    answer = call("GET", path(job))

    assert (answer.status, answer.body["status"], answer.body["result_url"]) == (200, "succeeded", path(job, "/result"))
    assert answer.body["model_version"] == DONE.model_version
    assert "Retry-After" not in answer.headers


def test_a_job_that_failed_says_how(call, kept):
    answer = call("GET", path(kept(FAILED)))

    assert (answer.status, answer.body["status"]) == (200, "failed")
    assert answer.body["error"] == {"status": 400, "message": "input 'x' is missing"}
    assert "result_url" not in answer.body


def test_a_head_is_answered_as_a_get_is(call, kept):
    job = kept(DONE, ANSWER)
    for rest in ("", "/result"):
        assert call("HEAD", path(job, rest)) == call("GET", path(job, rest))


# Its result


@pytest.mark.parametrize("status", ["queued", "running"])
def test_the_result_of_a_job_under_way_is_its_status(call, kept, status):
    job = kept(replace(JOB, status=status))

    answer = call("GET", path(job, "/result"))

    assert (answer.status, answer.body) == (202, call("GET", path(job)).body)
    assert int(answer.headers["Retry-After"]) > 0


def test_a_json_result_is_answered_as_the_model_answered_it(call, kept):
    answer = call("GET", path(kept(DONE, ANSWER), "/result"))

    assert (answer.status, answer.content, answer.headers) == (200, ANSWER, {"Content-Type": "application/json"})


def test_a_binary_result_comes_with_the_length_of_its_header(call, kept):
    body = b"{}" + bytes(range(256))
    answer = call("GET", path(kept(replace(DONE, result_size=len(body), result_header_length=2), body), "/result"))

    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "2"}
    assert (answer.status, answer.content, answer.headers) == (200, body, headers)


@pytest.mark.parametrize(("status", "answered"), [(400, 400), (504, 504), (None, 500)])
def test_the_result_of_a_job_that_failed_is_its_error(call, kept, status, answered):
    job = kept(replace(FAILED, error_status=status))

    answer = call("GET", path(job, "/result"))

    assert (answer.status, answer.body) == (answered, {"error": "input 'x' is missing"})


def test_a_result_as_large_as_an_answer_may_be_is_one(call, kept, modules):
    answers, _ = modules
    body = os.urandom(answers.INLINE_BYTES)

    answer = call("GET", path(kept(replace(DONE, result_size=len(body), result_header_length=0), body), "/result"))

    assert (answer.status, answer.content) == (200, body)


def escaped() -> bytes:
    """Within the limit, but Lambda's envelope doubles each quotation mark."""
    return json.dumps([""] * 1_300_000, separators=(",", ":")).encode()


@pytest.mark.parametrize("name", ["a byte too many", "more than the record says", "quotation marks"])
def test_a_result_that_no_answer_carries_is_a_presigned_url(call, kept, modules, name):
    answers, _ = modules
    body = escaped() if name == "quotation marks" else bytes(answers.INLINE_BYTES + 1)
    job = replace(DONE, result_size=1 if name == "more than the record says" else len(body))
    kept(job, body)

    answer = call("GET", path(job, "/result"))

    assert answer.status == 303
    assert answer.body["url"] == answer.headers["Location"]
    assert (answer.body["id"], answer.body["size"], answer.body["expires"]) == (job.id, job.result_size, NOW + 900)
    with urllib.request.urlopen(answer.headers["Location"]) as response:
        assert (response.read(), response.headers["Content-Type"]) == (body, "application/json")


def test_a_large_result_is_not_read_to_say_where_it_is(call, kept, modules, environ):
    answers, _ = modules

    class Unread(S3Bucket):
        def read(self, key: str, *, most: int, version_id: str | None = None) -> bytes | None:
            raise AssertionError(key, most, version_id)

    job = kept(replace(DONE, result_size=answers.INLINE_BYTES + 1))
    assert call("GET", path(job, "/result"), bucket=Unread.from_environ(NAMES["JOB_BUCKET"], environ)).status == 303


def test_a_presigned_binary_result_says_what_s3_can_not(call, kept, modules):
    answers, _ = modules
    job = replace(DONE, result_size=answers.INLINE_BYTES + 1, result_header_length=2)
    kept(job, b"{}" + bytes(answers.INLINE_BYTES - 1))

    answer = call("GET", path(job, "/result"))

    assert answer.body["inference_header_content_length"] == 2
    assert "response-content-type=application%2Foctet-stream" in answer.headers["Location"]


def test_a_result_that_was_forgotten_before_its_job_is_not_found(call, kept, s3):
    job = kept(DONE, ANSWER)
    s3.delete_object(Bucket=NAMES["JOB_BUCKET"], Key=job.result)

    answer = call("GET", path(job, "/result"))

    assert (answer.status, answer.body["error"]) == (404, call("GET", f"/v2/jobs/{job.id}", who="other").body["error"])


# Its end


@pytest.mark.parametrize("job", [JOB, DONE, FAILED])
def test_a_deleted_job_leaves_nothing(call, kept, s3, dynamodb, job):
    kept(job, ANSWER)

    answer = call("DELETE", path(job))

    assert (answer.status, answer.content) == (204, b"")
    assert "Item" not in dynamodb.get_item(TableName=NAMES["JOB_TABLE"], Key={"id": {"S": job.id}})
    objects = s3.list_objects_v2(Bucket=NAMES["JOB_BUCKET"]).get("Contents", [])
    assert not [each["Key"] for each in objects if each["Key"] in {job.request, job.result}]
    assert call("DELETE", path(job)).status == call("GET", path(job)).status == call("GET", path(job, "/result")).status == 404


def test_an_upload_outlives_its_job_since_another_may_name_it_too(call, kept, s3):
    job = kept(replace(DONE, request=upload_key("shop", NEVER)), ANSWER)

    assert call("DELETE", path(job)).status == 204
    assert s3.get_object(Bucket=NAMES["JOB_BUCKET"], Key=job.request)["Body"].read() == b"asked"


@pytest.mark.parametrize("name", ["request", "result"])
def test_a_deletion_that_fails_can_be_asked_for_again(call, kept, environ, name):
    job = kept(DONE, ANSWER)

    class Broken(S3Bucket):
        def delete(self, key: str) -> None:
            if key == getattr(job, name):
                raise StoreUnavailable(key, "HTTP 503 SlowDown")
            super().delete(key)

    answer = call("DELETE", path(job), bucket=Broken.from_environ(NAMES["JOB_BUCKET"], environ))

    assert (answer.status, call("DELETE", path(job)).status) == (503, 204)


def test_a_result_that_is_written_meanwhile_is_deleted_too(call, kept, s3, environ):
    job = kept(replace(JOB, status="running"))

    class Table(JobTable):
        def delete(self, job: str) -> Job | None:
            s3.put_object(Bucket=NAMES["JOB_BUCKET"], Key=JOB.result, Body=ANSWER)  # and its worker ended the job
            return super().delete(job)

    table = Table(JsonService.from_environ("dynamodb", environ), NAMES["JOB_TABLE"])
    assert call("DELETE", path(job), table=table).status == 204
    assert "Contents" not in s3.list_objects_v2(Bucket=NAMES["JOB_BUCKET"], Prefix=job.result)


# Whose it is


ROUTES = [("GET", ""), ("HEAD", ""), ("DELETE", ""), ("GET", "/result"), ("HEAD", "/result")]


@pytest.mark.parametrize(("owner", "who"), [("shop", "other"), ("shop", "shop-2"), ("shop", None), ("-", "shop")])
@pytest.mark.parametrize("route", ROUTES)
def test_somebody_elses_job_is_answered_as_one_that_never_was(call, kept, owner, who, route):
    method, rest = route
    job = kept(replace(DONE, client=owner), ANSWER)

    theirs = call(method, path(job, rest), who=who)
    never = call(method, f"/v2/jobs/{NEVER}{rest}", who=who)

    assert theirs.status == never.status == 404
    assert theirs.content.replace(job.id.encode(), NEVER.encode()) == never.content
    assert theirs.headers == never.headers
    assert call("GET", path(job), who=None if owner == "-" else owner).status == 200


def test_a_service_asks_for_its_own(call, kept):
    assert call("GET", path(kept(replace(DONE, client="-"), ANSWER), "/result"), who=None).content == ANSWER


def test_a_job_whose_time_is_over_is_none(call, kept):
    job = kept(DONE, ANSWER)

    assert call("GET", path(job), clock=lambda: job.expiration + 1).status == 404


HOSTILE = [
    "",
    "x",
    "0" * 31,
    "0" * 33,
    "A" * 32,
    "\N{FULLWIDTH DIGIT ZERO}" * 32,
    "0" * 31 + "\n",
    "-",
    "%30" * 32,
    "0123456789abcdef" * 2 + "%00",
    "a" * 6000,
]


@pytest.mark.parametrize("job", HOSTILE)
@pytest.mark.parametrize(("method", "rest"), ROUTES)
def test_what_is_no_id_is_not_looked_up(call, job, method, rest):
    class Untouched:
        def read(self, *_: object, **__: object) -> None:
            raise AssertionError

    answer = call(method, f"/v2/jobs/{job}{rest}", table=Untouched())

    assert answer.status == 404
    assert list(answer.body) == ["error"]


@given(
    job=st.text(max_size=60),
    rest=st.sampled_from(["", "/", "/result", "/result/", "/x"]),
    method=st.sampled_from(["GET", "DELETE", "HEAD"]),
)
def test_no_path_below_jobs_is_more_than_not_found(call, job, rest, method):
    assert call(method, f"/v2/jobs/{job}{rest}").status in {404, 405}


# Uploads


def test_an_upload_is_sent_to_its_url_and_kept_under_its_clients_name(call, s3):
    answer = call("POST", "/v2/uploads", b'{"size": 5}', stage="/dev")

    upload = answer.body
    assert (answer.status, upload["method"], upload["headers"]) == (201, "PUT", {"Content-Length": "5"})
    assert (upload["expires"], re.fullmatch("[0-9a-f]{32}", upload["id"]) is not None) == (NOW + 3600, True)
    # Moto takes urllib's own Content-Type for a form's.
    request = urllib.request.Request(upload["url"], b"bytes", {"Content-Type": "application/octet-stream"}, method="PUT")
    assert urllib.request.urlopen(request).status == 200
    assert s3.get_object(Bucket=NAMES["JOB_BUCKET"], Key=f"_uploads/shop/{upload['id']}")["Body"].read() == b"bytes"


def test_no_two_uploads_have_one_place(call):
    assert len({call("POST", "/v2/uploads", b'{"size": 5}').body["id"] for _ in range(3)}) == 3


def test_the_size_of_an_upload_is_signed(call, environ):
    signed: list[int] = []

    class Bucket(S3Bucket):
        def presigned_put(self, key: str, *, size: int, seconds: int) -> str:
            signed.append(size)
            return super().presigned_put(key, size=size, seconds=seconds)

    answer = call("POST", "/v2/uploads", b'{"size": 5}', bucket=Bucket.from_environ(NAMES["JOB_BUCKET"], environ))

    assert ("X-Amz-SignedHeaders=content-length%3Bhost" in answer.body["url"], signed) == (True, [5])


BODIES = [b"", b"{", b"[]", b"5", b"null", b"{}", b"[" * 10**5, b"\xff", b"\0" * 100, '{"size": 1}'.encode("utf-16")]
SIZES = ["0", "-1", "1.5", "1e3", '"5"', "true", "null", "[1]", "NaN", "Infinity", "1" * 40, "1" * 5000]


@pytest.mark.parametrize("body", [*BODIES, *(f'{{"size": {size}}}'.encode() for size in SIZES)])
def test_an_upload_of_no_size_says_what_to_send(call, body):
    answer = call("POST", "/v2/uploads", body)

    assert answer.status == 400
    assert '{"size": 1048576}' in answer.body["error"]
    assert len(answer.content) < 300


@given(size=st.integers(1, 2**80))
def test_an_upload_is_as_large_as_the_deployment_allows(call, size):
    answer = call("POST", "/v2/uploads", json.dumps({"size": size}).encode())

    # Beyond 64 bits no JSON reader that keeps to integers agrees on it.
    assert answer.status == (201 if size <= 2 * 2**20 else 413 if size < 2**64 else 400)
    if answer.status == 413:
        assert "2,097,152 bytes" in answer.body["error"]


# The rest


@pytest.mark.parametrize(
    ("method", "where", "allow"),
    [
        *((method, f"/v2/jobs/{NEVER}", "GET, HEAD, DELETE") for method in ("POST", "PUT", "PATCH", "OPTIONS")),
        *((method, f"/v2/jobs/{NEVER}/result", "GET, HEAD") for method in ("POST", "DELETE")),
        *((method, "/v2/uploads", "POST") for method in ("GET", "HEAD", "PUT", "DELETE")),
        ("GET", "/v2/uploads/", "POST"),
    ],
)
def test_another_method_is_refused_with_the_right_one(call, method, where, allow):
    answer = call(method, where)

    assert (answer.status, answer.headers["Allow"]) == (405, allow)
    assert allow in answer.body["error"]


@pytest.mark.parametrize(
    "where", ["/", "/v2/jobs", f"/v2/jobs/{NEVER}/results", f"/v2/jobs/{NEVER}/result/x", "/v2/uploads/x", "/v2/upload"]
)
def test_any_other_path_is_no_route(call, where):
    answer = call("GET", where)

    assert answer.status == 404
    assert "error" in answer.body


def test_a_browser_may_read_where_the_result_is_and_when_to_ask(call, kept):
    answer = call("GET", path(kept(JOB)), cors_origin="https://example.org")

    assert answer.headers["Access-Control-Allow-Origin"] == "https://example.org"
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"Location", "Retry-After", "Inference-Header-Content-Length"} <= set(exposed)


def test_a_browsers_preflight_may_delete(call):
    answer = call("OPTIONS", f"/v2/jobs/{NEVER}", cors_origin="https://example.org", who=None)

    assert answer.status == 204
    assert {"GET", "POST", "DELETE"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))


def test_without_an_origin_no_cors_header_is_sent(call, kept):
    assert not [name for name in call("GET", path(kept(JOB))).headers if name.startswith("Access-Control")]


def test_an_event_of_a_function_url_is_answered_too(made, kept):
    kept(DONE, ANSWER)
    http = {"version": "2.0", "rawPath": path(DONE), "requestContext": {"http": {"method": "GET"}, "authorizer": {"client": "shop"}}}

    assert made()(http, Context())["statusCode"] == 200


@pytest.mark.parametrize("broken", [{}, {"httpMethod": "GET"}, {**event("POST", "/v2/uploads"), "body": "no base64"}])
def test_an_event_that_is_no_request_is_a_callers_mistake(made, broken):
    assert made()(broken, Context())["statusCode"] == 400


# Logs and metrics


@pytest.fixture
def log(call):
    call("GET", "/v2/jobs")  # makes the logger
    with logged() as written:
        yield written


def test_a_request_leaves_a_line_with_its_client(call, kept, log):
    call("GET", path(kept(JOB)))
    call("GET", path(JOB), who="other")

    found = [(line["message"], line["status"], line["client"], line.get("error")) for line in lines(log)]
    assert found == [("request", 200, "shop", None), ("request", 404, "other", "NoSuchJob")]


def test_nothing_that_was_sent_and_no_url_is_logged(call, kept, log, capsys):
    kept(replace(DONE, result_size=2**30))
    call("GET", path(DONE, "/result"))
    call("POST", "/v2/uploads", b'{"size": 5}')
    call("POST", "/v2/uploads", b'{"size": "canary-5172"}')
    call("GET", "/v2/jobs/canary-5172/canary-5172")
    call("canary-5172", path(JOB))

    assert len(lines(log)) == 5
    for forbidden in ("canary", "Signature", "X-Amz", JOB.id):
        assert forbidden not in log.getvalue() + capsys.readouterr().out


def test_a_bug_is_answered_in_the_protocols_shape_and_logged_without_its_text(call, log):
    class Broken:
        def read(self, *_: object, **__: object) -> None:
            raise LookupError("canary-5172")  # as one that quotes what the caller sent

    answer = call("GET", path(JOB), table=Broken())

    assert (answer.status, "a-request" in answer.body["error"]) == (500, True)
    assert lines(log)[0]["error"] == "LookupError"
    assert "canary" not in log.getvalue()


def test_a_table_that_does_not_answer_is_503_and_said_in_the_log(call, log, environ):
    table = JobTable(JsonService.from_environ("dynamodb", environ), "no-table")

    answer = call("GET", path(JOB), table=table)

    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    (line,) = lines(log)
    assert (line["level"], line["error"], "GetItem" in line["reason"]) == ("ERROR", "ServiceUnavailable", True)


def test_errors_are_counted_by_kind_and_every_request_has_a_latency(call, capsys):
    call("GET", f"/v2/jobs/{NEVER}")

    metrics = [each for each in map(json.loads, capsys.readouterr().out.splitlines()) if "Latency" in each]
    assert [each["NoSuchJob"] for each in metrics] == [[1.0]]


def test_the_clock_of_a_deployment_is_the_worlds(modules, environ, kept):
    answers, _ = modules
    settings = JobsSettings(job_bucket=NAMES["JOB_BUCKET"], job_table=NAMES["JOB_TABLE"])
    table = cast("JobTable", None)  # no upload is looked up
    jobs = answers.Jobs(settings, table, S3Bucket.from_environ(NAMES["JOB_BUCKET"], environ))
    del kept

    upload = json.loads(jobs.answer(from_event(event("POST", "/v2/uploads", b'{"size": 1}'))).body)

    assert abs(upload["expires"] - time.time() - 3600) < 10
