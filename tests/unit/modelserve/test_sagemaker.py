"""The runtime API's answers, errors and faults over real sockets: what a caller is told, what is tried again, and what never is."""

import json
import re
import time
from collections.abc import Callable
from math import inf
from typing import Any

import boto3
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from modelserve import aws
from modelserve.errors import (
    DeadlineExceeded,
    EndpointUnavailable,
    InsufficientMemory,
    ModelFailed,
    ModelLoading,
    PayloadTooLarge,
    ServeError,
)
from modelserve.protocol import status_of
from modelserve.sagemaker import Endpoint, model_error

from .servers import CLOSE, HANG, RESET, Scripted, response, scripted

NAME, TARGET = "serverless-onnx-dev", "sample/versions/20261120T174100Z-1a2b3c4d/model.tar.gz"
ENVIRON = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "do-not-tell-key"}
GOOD = response(200, b"answer", Content_Type="a/b;c=1")
SECRET = ("do-not-tell", "123456789012", "arn:", "s3://", "/opt/ml", "a-bucket")


def endpoint(server: Scripted, *, remaining: Callable[[], float] = lambda: inf) -> Endpoint:
    environ = {**ENVIRON, "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": server.url}
    return Endpoint.from_environ(NAME, environ, model="sample", remaining=remaining)


def invoke(server: Scripted, *, seconds: float = 10) -> tuple[str, bytes]:
    return endpoint(server).invoke("x/y;z=1", b"do-not-tell-request", TARGET, seconds=seconds)


def error(status: int, kind: str, message: str = "do-not-tell", **members: Any) -> bytes:
    """As the API writes one."""
    return response(status, json.dumps({**members, "Message": message}).encode(), x_amzn_ErrorType=f"{kind}:http://internal.amazon.com/")


def failed(status: Any, original: Any) -> bytes:
    """What becomes of a container's answer that is no 200."""
    arn = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/sagemaker/Endpoints/e"
    message = f'Received client error ({status}) from primary with message "{original}". See https://x in account 123456789012'
    return error(424, "ModelError", message, OriginalStatusCode=status, OriginalMessage=original, LogStreamArn=arn)


def triton(status: int, text: str) -> bytes:
    return failed(status, json.dumps({"error": text}))


def refused(answer: bytes, *, seconds: float = 10) -> ServeError:
    """What is raised, after one request and no more."""
    with scripted(answer, keep=True) as server:
        with pytest.raises(ServeError) as raised:
            invoke(server, seconds=seconds)
        assert len(server.requests) == 1
    assert not any(secret in str(raised.value) for secret in SECRET)
    return raised.value


# What is sent, and what comes back


def test_a_request_is_what_boto3_would_send():
    with scripted(GOOD, keep=True) as server:
        assert invoke(server) == ("a/b;c=1", b"answer")
        config = Config(retries={"total_max_attempts": 1})
        boto = boto3.client(
            "sagemaker-runtime",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=config,
        )
        answer = boto.invoke_endpoint(EndpointName=NAME, ContentType="x/y;z=1", Body=b"do-not-tell-request", TargetModel=TARGET)
        assert answer["Body"].read() == b"answer"
        boto.close()
        ours, theirs = (head.split("\r\n") for head in server.requests)
        assert server.bodies[0] == server.bodies[1]

    assert ours[0] == theirs[0] == f"POST /endpoints/{NAME}/invocations HTTP/1.1"
    for name in ("content-type", "x-amzn-sagemaker-target-model"):
        ((mine,), (other,)) = ([line.partition(": ")[2] for line in head if line.lower().startswith(f"{name}:")] for head in (ours, theirs))
        assert mine == other
    assert any("/us-east-1/sagemaker/aws4_request, SignedHeaders=content-type;host;" in line for line in ours)


def test_an_endpoint_of_one_model_is_asked_without_a_target():
    with scripted(GOOD) as server:
        endpoint(server).invoke("x/y", b"", None, seconds=10)

        assert "target-model" not in server.requests[0]


def test_requests_go_over_one_connection():
    with scripted(GOOD, keep=True) as server:
        asked = endpoint(server)
        for _ in range(3):
            asked.invoke("x/y", b"1", TARGET, seconds=10)

        assert (server.connections, len(server.requests)) == (1, 3)


def test_after_it_was_closed_the_next_request_opens_a_connection():
    with scripted(GOOD, keep=True) as server:
        asked = endpoint(server)
        asked.close()
        asked.invoke("x/y", b"1", TARGET, seconds=10)
        asked.close()
        asked.close()
        asked.invoke("x/y", b"1", TARGET, seconds=10)

        assert (server.connections, len(server.requests)) == (2, 2)


@pytest.mark.parametrize(
    ("environ", "host"),
    [
        ({"AWS_REGION": "eu-west-1"}, "runtime.sagemaker.eu-west-1.amazonaws.com"),
        ({"AWS_REGION": "cn-north-1"}, "runtime.sagemaker.cn-north-1.amazonaws.com.cn"),
        ({"AWS_ENDPOINT_URL": "http://all:1"}, "all:1"),
        ({"AWS_ENDPOINT_URL": "http://all:1", "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": "http://one:2"}, "one:2"),
    ],
)
def test_the_address_is_the_one_that_the_aws_sdks_would_use(environ, host):
    service = Endpoint.from_environ(NAME, environ, model="sample")._service

    assert (service._host, service._secure) == (host, "AWS_ENDPOINT_URL" not in environ)


# What is tried again


PASSING = {
    "no answer": CLOSE,
    "a reset": RESET,
    "loading": error(429, "ModelNotReadyException"),
    "unavailable": error(503, "ServiceUnavailable"),
    "throttled": error(400, "ThrottlingException"),
    "internal": error(500, "InternalFailure"),
    "a dependency": error(530, "InternalDependencyException"),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_was_not_begun_is_tried_again(fault):
    with scripted(fault, fault, GOOD, keep=True) as server:
        assert invoke(server) == ("a/b;c=1", b"answer")
        assert server.bodies == [b"do-not-tell-request"] * 3


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_it_is_given_up_after_three_attempts(fault):
    with scripted(fault, keep=True) as server:
        with pytest.raises(ServeError) as raised:
            invoke(server)
        assert len(server.requests) == 3
    assert status_of(raised.value) == 503
    assert raised.value.retry_after == (5 if fault is PASSING["loading"] else 1)
    assert isinstance(raised.value, ModelLoading if fault is PASSING["loading"] else EndpointUnavailable)
    assert not any(secret in str(raised.value) for secret in SECRET)


def test_a_stale_connection_is_no_attempt():
    with scripted(GOOD, CLOSE, PASSING["loading"], PASSING["loading"], GOOD, keep=True) as server:
        asked = endpoint(server)
        for _ in range(2):
            assert asked.invoke("x/y", b"1", TARGET, seconds=10) == ("a/b;c=1", b"answer")

        assert (server.connections, len(server.requests)) == (2, 5)


def test_nothing_is_tried_again_when_there_is_no_time_for_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(aws, "_FIRST_PAUSE", 60)
    with scripted(PASSING["loading"], keep=True) as server:
        with pytest.raises(ModelLoading):
            invoke(server, seconds=10)
        assert len(server.requests) == 1


def test_an_endpoint_that_refuses_connections_is_unavailable():
    with scripted(GOOD) as server:
        asked = endpoint(server)
    with pytest.raises(
        EndpointUnavailable, match=r"endpoint 'serverless-onnx-dev' could not answer: no connection \(.*refused\) \(3 attempts\)"
    ):
        asked.invoke("x/y", b"", TARGET, seconds=5)


# What is not


@pytest.mark.parametrize("answer", [HANG, response(200, b"half", announced=9) + HANG], ids=["before an answer", "within one"])
def test_a_time_out_is_not_tried_again(answer):
    """The work may go on."""
    begun = time.monotonic()

    assert isinstance(refused(answer, seconds=0.2), DeadlineExceeded)
    assert time.monotonic() - begun < 2


def test_an_invocation_that_is_nearly_over_waits_no_longer():
    with scripted(HANG, keep=True) as server, pytest.raises(DeadlineExceeded):
        endpoint(server, remaining=lambda: 0.1).invoke("x/y", b"", TARGET, seconds=60)


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["closed", "reset"])
def test_half_an_answer_is_unavailable(end):
    assert "the connection" in str(refused(response(200, b"half", announced=9) + end))


def test_an_answer_without_bounds_is_not_read():
    large = response(200, bytes(17 * 2**20))
    with scripted(large) as server, pytest.raises(PayloadTooLarge, match="the answer is larger than 6,291,456 bytes; send fewer rows"):
        invoke(server)


RUN = "Non-zero status code returned while running Gather node. Name:'' Status Message: /src/core/g.h:46 f(int) index=9 is out of bounds"


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (triton(400, f"onnx runtime error 2: {RUN}"), ModelFailed, "model 'sample' could not run on this input: index=9 is out of bounds"),
        (triton(500, f"onnx runtime error 2: {RUN}"), ModelFailed, "on this input: index=9 is out of bounds"),
        (triton(400, f"[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : {RUN}\nstack"), ModelFailed, "on this input: index=9 is out of bounds"),
        (triton(400, "unexpected shape for input 'x' for model '/opt/ml/models/1/model'"), ModelFailed, "unexpected shape for input 'x'"),
        (failed(400, "not JSON, of arn:aws:x:123456789012:y and s3://a-bucket/k"), ModelFailed, "on this input: not JSON, of ... and ..."),
        (triton(400, "x" * 9999), ModelFailed, "on this input: " + "x" * 300),
        (triton(500, "onnx runtime error 6: Failed to allocate memory"), InsufficientMemory, "more memory for this input"),
        (triton(400, "CUDA failure 2: out of memory ; GPU=0"), InsufficientMemory, "than its endpoint's instance has; send fewer rows"),
        (triton(500, "std::bad_alloc"), InsufficientMemory, "gpu_instance_type in stacks/settings.py"),
        (triton(507, "anything"), InsufficientMemory, "more memory"),
        (failed(0, "Your invocation timed out while waiting for a response from container primary."), DeadlineExceeded, "within 10 s"),
        (failed(504, ""), DeadlineExceeded, "did not answer"),
        (failed(-1, ""), DeadlineExceeded, "did not answer"),
        (triton(400, "load failed for model 'ab': version 1 is at UNAVAILABLE state: Internal: x"), EndpointUnavailable, "could not load"),
        (triton(400, "failed to load 'x', failed to poll from model repository"), EndpointUnavailable, "`modelctl rollback`"),
        (triton(409, "model repository '/opt/ml/models/a' has already been registered"), EndpointUnavailable, "could not load"),
        (failed(404, ""), EndpointUnavailable, "could not load"),
        (triton(500, "do-not-tell"), EndpointUnavailable, "its container failed with status 500; its log says why"),
        (failed(None, None), EndpointUnavailable, "its container failed"),
        (failed("x", ["y"]), EndpointUnavailable, "its container failed"),
        (error(424, "ModelError"), EndpointUnavailable, "its container failed"),
        (response(424, b"<html>"), EndpointUnavailable, "its container failed"),
        (
            error(400, "ValidationError", f"Endpoint {NAME} of account 123456789012 not found."),
            EndpointUnavailable,
            "there is none yet; run: cdk deploy '<deployment>/*' -c gpu=on",
        ),
        (
            error(400, "ValidationError", "Failed to download model data(bucket: a-bucket, key: models/k)"),
            EndpointUnavailable,
            'HTTP 400 ValidationError; it has no archive of this version: publish it with target = "gpu"',
        ),
        (error(403, "AccessDeniedException"), EndpointUnavailable, "AccessDeniedException; this function's role may not"),
        (response(403, b"{}"), EndpointUnavailable, "HTTP 403 ; this function's role"),
        (response(413, b'{"Message":"HTTP content length exceeded 6291456 bytes."}'), EndpointUnavailable, "HTTP 413"),
        (response(502, b"<html>"), EndpointUnavailable, "HTTP 502"),
        (response(504, b"<html>"), EndpointUnavailable, "HTTP 504"),
        (response(302, b""), EndpointUnavailable, "HTTP 302"),
        (response(418, b"", x_amzn_ErrorType="do not tell!"), EndpointUnavailable, "HTTP 418 "),
    ],
)  # fmt: skip
def test_an_error_is_said_in_our_words_and_not_tried_again(answer, kind, says):
    found = refused(answer)

    assert type(found) is kind
    assert says in str(found)
    assert len(str(found)) < 450
    assert status_of(found) == {ModelFailed: 400, InsufficientMemory: 500, DeadlineExceeded: 504, EndpointUnavailable: 503}[kind]
    assert (found.retry_after is not None) == (kind is EndpointUnavailable)


def test_the_role_is_named_only_where_it_was_refused():
    assert str(refused(error(403, "ExpiredTokenException"))).endswith("HTTP 403 ExpiredTokenException")


@given(answer=st.binary(max_size=120))
def test_any_bytes_for_an_answer_are_one_or_an_error_of_ours(answer: bytes):
    with scripted(b"HTTP/1.1 424 x\r\nContent-Length: 10\r\n\r\n" + answer) as server, pytest.raises(ServeError):
        invoke(server)


@given(
    status=st.none() | st.integers() | st.text(max_size=3), original=st.text(max_size=40) | st.none() | st.lists(st.integers(), max_size=2)
)
def test_any_error_of_a_container_is_an_error_of_ours(status: Any, original: Any):
    with scripted(failed(status, original), keep=True) as server, pytest.raises(ServeError):
        invoke(server)


def test_without_credentials_it_is_said_so():
    with scripted(GOOD) as server:
        asked = Endpoint.from_environ(NAME, {"AWS_ENDPOINT_URL": server.url}, model="sample")
        with pytest.raises(ServeError, match="no AWS credentials"):
            asked.invoke("x/y", b"", TARGET, seconds=5)


def test_credentials_are_looked_up_for_each_request():
    """A long-lived environment's are replaced."""
    with scripted(GOOD, keep=True) as server:
        environ = {**ENVIRON, "AWS_ENDPOINT_URL": server.url}
        asked = Endpoint.from_environ(NAME, environ, model="sample")
        for environ["AWS_ACCESS_KEY_ID"] in ("first", "second"):
            asked.invoke("x/y", b"", TARGET, seconds=10)

        assert [re.findall(r"Credential=(\w+)/", head) for head in server.requests] == [["first"], ["second"]]


# Queues


def queue(server: Scripted) -> tuple[str, str]:
    return endpoint(server).invoke_async("s3://b/request", "x/y;z=1", "f00", seconds=10)


@pytest.mark.parametrize(("name", "asked"), [("internal", 1), ("a dependency", 1), ("throttled", 3), ("unavailable", 3)])
def test_a_job_that_may_be_in_the_queue_is_not_sent_again(name, asked):
    with scripted(PASSING[name], keep=True) as server:
        with pytest.raises(EndpointUnavailable):
            queue(server)
        assert len(server.requests) == asked


def test_a_queued_request_names_where_it_lies_and_is_told_where_its_answer_will():
    places = {"X_Amzn_SageMaker_OutputLocation": "s3://b/out", "X_Amzn_SageMaker_FailureLocation": "s3://b/failure"}
    with scripted(response(202, b'{"InferenceId": "f00"}', announced=None, **places), keep=True) as server:
        assert queue(server) == ("s3://b/out", "s3://b/failure")
        first, *lines = server.requests[0].strip().split("\r\n")

    sent = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert first == f"POST /endpoints/{NAME}/async-invocations HTTP/1.1"
    assert {name: value for name, value in sent.items() if name.startswith("x-amzn-sagemaker") or name == "content-length"} == {
        "x-amzn-sagemaker-inputlocation": "s3://b/request",
        "x-amzn-sagemaker-content-type": "x/y;z=1",
        "x-amzn-sagemaker-inference-id": "f00",
        "x-amzn-sagemaker-invocationtimeoutseconds": "3600",
        "x-amzn-sagemaker-requestttlseconds": "21600",
        "content-length": "0",
    }


def test_a_queue_that_is_not_there_is_made_by_a_promotion():
    with (
        scripted(error(400, "ValidationError", f"Endpoint {NAME} of account 123456789012 not found.")) as server,
        pytest.raises(EndpointUnavailable, match="there is none yet; run: modelctl promote sample VERSION"),
    ):
        queue(server)


def test_a_queue_that_names_no_places_is_told():
    with scripted(response(202, b"{}")) as server, pytest.raises(EndpointUnavailable, match="names no places"):
        queue(server)


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (b'Received client error (400) from primary with message "{"error":"onnx runtime error 2: Non-zero status code returned while '
         b'running Gather node. Status Message: idx=9"}". See https://x in account 123456789012', ModelFailed, "on this input: idx=9"),
        (b'{"error": "onnx runtime error 2: Status Message: idx=9"}', ModelFailed, "on this input: idx=9"),
        (b'Received server error (0) from primary with message "x timed out". See ', DeadlineExceeded, "within 3.6e+03 s"),
        (b"\xff", EndpointUnavailable, "its container failed"),
        (b"", EndpointUnavailable, "its container failed"),
    ],
)  # fmt: skip
def test_what_is_left_of_a_queued_request_that_failed_is_said_likewise(body, kind, says):
    found = model_error("sample", NAME, body)

    assert type(found) is kind
    assert says in str(found)
    assert not any(secret in str(found) for secret in SECRET)
