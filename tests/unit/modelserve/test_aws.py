"""Signing against botocore's own, the JSON call against moto's DynamoDB and KMS, and a server that fails on purpose."""

import json
import socket
import time
from collections.abc import Callable
from math import inf
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from modelserve import aws
from modelserve.aws import ConditionFailed, Credentials, JsonService, Service, ServiceUnavailable
from modelserve.errors import StoreUnavailable

from .servers import RESET, Scripted, response, scripted

GET_ITEM = "DynamoDB_20120810.GetItem"
SECRETS = {"secret_key": "do-not-tell-key", "token": "do-not-tell-token"}


def service(url: str, name: str = "dynamodb", *, token: str | None = None, remaining: Callable[[], float] = lambda: inf) -> JsonService:
    def credentials() -> Credentials:
        return Credentials("local", SECRETS["secret_key"], token)

    return JsonService(name, Service(name, region="us-east-1", url=url, credentials=credentials, remaining=remaining, sleep=lambda _: None))


def refusal(status: int, kind: str) -> bytes:
    return response(status, json.dumps({"__type": kind, "message": "do-not-tell-message"}).encode())


def client(name: Any, url: str) -> Any:
    return boto3.client(name, endpoint_url=url, region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local")


# moto


def test_an_item_of_dynamodb_is_read(moto_url):
    dynamodb = client("dynamodb", moto_url)
    schema = [{"AttributeName": "client", "KeyType": "HASH"}]
    attributes = [{"AttributeName": "client", "AttributeType": "S"}]
    dynamodb.create_table(TableName="clients", KeySchema=schema, AttributeDefinitions=attributes, BillingMode="PAY_PER_REQUEST")
    item = {"client": {"S": "ünï"}, "models": {"L": [{"S": "fruit"}]}}
    dynamodb.put_item(TableName="clients", Item=item)

    found = service(moto_url).call(GET_ITEM, {"TableName": "clients", "Key": {"client": {"S": "ünï"}}, "ConsistentRead": True})

    dynamodb.delete_table(TableName="clients")
    assert found["Item"] == item


def test_a_table_that_is_not_there_is_named_by_awss_code(moto_url):
    with pytest.raises(ServiceUnavailable, match="dynamodb could not answer GetItem: HTTP 400 ResourceNotFoundException"):
        service(moto_url).call(GET_ITEM, {"TableName": "nowhere", "Key": {"client": {"S": "a"}}})


def test_a_public_key_of_kms_is_read(moto_url):
    kms = client("kms", moto_url)
    key = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")["KeyMetadata"]["KeyId"]

    found = service(moto_url, "kms").call("TrentService.GetPublicKey", {"KeyId": key})

    assert found["SigningAlgorithms"]
    assert found["PublicKey"].startswith("MII")


# What is sent


def head(server: Scripted) -> dict[str, str]:
    _, *lines = server.requests[0].strip().split("\r\n")
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


@pytest.mark.parametrize("token", [None, "session/token+="])
@pytest.mark.parametrize(("name", "version"), [("dynamodb", "1.0"), ("events", "1.1"), ("kms", "1.1"), ("sqs", "1.0")])
def test_a_call_is_signed_as_botocore_signs_it(name, version, token):
    with scripted(response(200, b"{}")) as server:
        service(server.url, name, token=token).call("Target_1.Action", {"a": "é☃", "b": [1, None]})
        sent = head(server)
        assert json.loads(server.bodies[0]) == {"a": "é☃", "b": [1, None]}
        assert server.requests[0].startswith("POST / HTTP/1.1\r\n")

    assert (sent["content-type"], sent["x-amz-target"]) == (f"application/x-amz-json-{version}", "Target_1.Action")
    auth = SigV4Auth(BotocoreCredentials("local", SECRETS["secret_key"], token), name, "us-east-1")
    covered = {key: sent[key] for key in sent if key.startswith("x-amz-") or key == "content-type"}
    request = AWSRequest("POST", server.url + "/", headers=covered, data=server.bodies[0])
    request.context["timestamp"] = sent["x-amz-date"]
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    assert sent["authorization"].endswith(f"Signature={signature}")
    assert f"SignedHeaders={auth.signed_headers(auth.headers_to_sign(request))}," in sent["authorization"]
    assert sent.get("x-amz-security-token") == token


def test_the_stamp_of_a_signature_is_the_time_in_utc(monkeypatch):
    monkeypatch.setattr(time, "gmtime", lambda: time.struct_time((2026, 11, 20, 17, 41, 0, 4, 324, 0)))

    signed = aws.sign(Credentials("a", "s", None), aws.Request("GET", "/"), "host", region="us-east-1", service="s3")

    assert signed["x-amz-date"] == "20261120T174100Z"
    assert "Credential=a/20261120/us-east-1/s3/aws4_request" in signed["authorization"]


@pytest.mark.parametrize(
    ("environ", "host"),
    [
        ({"AWS_REGION": "eu-west-1"}, "dynamodb.eu-west-1.amazonaws.com"),
        ({"AWS_REGION": "cn-north-1"}, "dynamodb.cn-north-1.amazonaws.com.cn"),
        ({"AWS_ENDPOINT_URL": "http://all:1"}, "all:1"),
        ({"AWS_ENDPOINT_URL": "http://all:1", "AWS_ENDPOINT_URL_DYNAMODB": "http://one:2/"}, "one:2"),
    ],
)
def test_the_endpoint_is_the_one_that_the_aws_sdks_would_use(environ, host):
    made = JsonService.from_environ("dynamodb", environ)._service

    assert (made._host, made._secure) == (host, "AWS_ENDPOINT_URL" not in environ)


@pytest.mark.parametrize(
    ("name", "variable"), [("events", "AWS_ENDPOINT_URL_EVENTBRIDGE"), ("sqs", "AWS_ENDPOINT_URL_SQS"), ("kms", "AWS_ENDPOINT_URL_KMS")]
)
def test_a_service_has_an_endpoint_under_the_name_that_the_aws_sdks_give_it(name, variable):
    environ = {"AWS_ENDPOINT_URL": "http://all:1", variable: "http://one:2", f"AWS_ENDPOINT_URL_{name.upper()}X": "http://no:3"}

    assert JsonService.from_environ(name, environ)._service._host == "one:2"
    assert JsonService.from_environ(name, {"AWS_REGION": "eu-west-1"})._service._host == f"{name}.eu-west-1.amazonaws.com"


# Conditional writes


@pytest.mark.parametrize("kept", [{"id": {"S": "a"}}, None])
def test_a_condition_that_fails_tells_what_was_there_and_is_not_tried_again(kept):
    answer = {"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "message": "do-not-tell"}
    body = json.dumps(answer | ({"Item": kept} if kept else {})).encode()
    with scripted(response(400, body)) as server, pytest.raises(ConditionFailed) as raised:
        service(server.url).call("DynamoDB_20120810.PutItem", {})

    assert raised.value.item == kept
    assert "do-not-tell" not in str(raised.value)


# Faults


@pytest.mark.parametrize(
    "fault",
    [
        refusal(500, "InternalServerError"),
        refusal(503, "x"),
        refusal(400, "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"),
        refusal(400, "ThrottlingException"),
        refusal(400, "com.amazonaws.sqs#RequestThrottled"),
        response(200, b'{"Item"', announced=100),
        response(200, b'{"Item"', announced=100) + RESET,
        b"",
    ],
    ids=["500", "503", "throughput", "throttled", "queue", "short", "reset", "nothing"],
)
def test_a_passing_fault_is_tried_again(fault):
    with scripted(fault, fault, response(200, b'{"a": 1}')) as server:
        assert service(server.url).call(GET_ITEM, {}) == {"a": 1}
        assert server.bodies == [b"{}"] * 3


@pytest.mark.parametrize("fault", [refusal(500, "InternalServerError"), refusal(400, "ThrottlingException")])
def test_a_fault_that_does_not_pass_is_given_up_after_three_attempts(fault):
    with scripted(fault) as server:
        with pytest.raises(ServiceUnavailable, match=r"HTTP \d+ \w+ \(3 attempts\)"):
            service(server.url).call(GET_ITEM, {})
        assert len(server.requests) == 3


@pytest.mark.parametrize("code", ["AccessDeniedException", "ExpiredTokenException", "UnrecognizedClientException", ""])
def test_a_refusal_is_said_with_its_code_and_not_tried_again(code):
    with scripted(refusal(400, f"com.amazon.coral.service#{code}")) as server:
        with pytest.raises(ServiceUnavailable, match=f"dynamodb could not answer GetItem: HTTP 400 {code};"):
            service(server.url).call(GET_ITEM, {})
        assert len(server.requests) == 1


def test_an_error_tells_neither_credentials_nor_bodies():
    with scripted(refusal(400, "x#AccessDeniedException")) as server, pytest.raises(ServiceUnavailable) as raised:
        service(server.url, token=SECRETS["token"]).call(GET_ITEM, {"key": "do-not-tell-request"})

    assert "do-not-tell" not in str(raised.value)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"<x/>", b'{"a":'])
def test_an_answer_that_is_no_object_is_unavailable(body):
    with scripted(response(200, body)) as server, pytest.raises(ServiceUnavailable, match="the answer is no JSON object"):
        service(server.url).call(GET_ITEM, {})


@given(answer=st.binary(max_size=120))
def test_any_bytes_for_an_answer_are_an_object_or_unavailable(answer):
    with scripted(b"HTTP/1.1 200" + answer) as server:
        try:
            found: object = service(server.url).call(GET_ITEM, {})
        except ServiceUnavailable:
            found = {}
        assert isinstance(found, dict)


def test_an_invocation_that_is_nearly_over_waits_for_nobody(monkeypatch):
    monkeypatch.setattr(aws, "_TIMEOUT", 60)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ServiceUnavailable, match="timed out"):
        service(f"http://127.0.0.1:{silent.getsockname()[1]}", remaining=lambda: 0.1).call(GET_ITEM, {})


# Credentials


def test_credentials_are_those_that_lambda_sets():
    found = Credentials.from_environ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"})

    assert (found.access_key, found.secret_key, found.token) == ("a", "s", "t")


def test_without_credentials_it_is_said_so():
    with pytest.raises(StoreUnavailable, match="no AWS credentials in the environment"):
        Credentials.from_environ({})


@pytest.mark.parametrize("variables", [{}, {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}], ids=["no variable", "an empty one"])
def test_credentials_come_from_the_container_endpoint_with_its_token(variables):
    with scripted(response(200, b'{"AccessKeyId": "a", "SecretAccessKey": "s", "Token": "t"}')) as server:
        environ = {
            **variables,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}/creds?id=1",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "secret",
        }
        found = Credentials.from_environ(environ)
        sent = head(server)
        target = server.requests[0].split(" ")[1]

    assert (found.access_key, found.secret_key, found.token) == ("a", "s", "t")
    assert (target, sent["authorization"]) == ("/creds?id=1", "secret")


@pytest.mark.parametrize("answer", [response(200, b"{}"), response(200, b"["), response(200, b"[]"), response(403, b"no"), b""])
def test_an_endpoint_without_credentials_is_unavailable(answer):
    with scripted(answer) as server, pytest.raises(StoreUnavailable, match="credentials endpoint did not answer"):
        Credentials.from_environ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}/creds"})
