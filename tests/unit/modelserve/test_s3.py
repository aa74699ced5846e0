"""The lean client against moto's S3, botocore's signatures and a server that fails on purpose."""

import hashlib
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any

import boto3
import certifi
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st

from modelserve import _http, aws
from modelserve import s3 as s3_module
from modelserve.aws import Credentials
from modelserve.errors import ObjectNotFound, PreconditionFailed, StoreUnavailable, UnverifiedModel
from modelserve.s3 import S3Bucket, S3Reader

from .servers import RESET, Scripted, failure, response, scripted

BUCKET = "store"
BODY = bytes(range(256)) * 8192  # 2 MiB: more than one read
SHA256 = hashlib.sha256(BODY).hexdigest()


def reader(
    url: str,
    *,
    bucket: str = BUCKET,
    pauses: list[float] | None = None,
    token: str | None = None,
    remaining: Callable[[], float] = lambda: inf,
) -> S3Bucket:
    def credentials() -> Credentials:
        return Credentials("local", "local", token)

    slept = pauses if pauses is not None else []
    return S3Bucket(bucket, region="us-east-1", endpoint=url, credentials=credentials, remaining=remaining, sleep=slept.append)


@pytest.fixture(scope="module")
def client(moto_url: str):
    made = boto3.client("s3", endpoint_url=moto_url, region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local")
    made.create_bucket(Bucket=BUCKET)
    made.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return made


def fetch(store: S3Reader, folder: Path, *, key: str = "model.onnx", size: int = len(BODY), sha256: str = SHA256) -> bytes:
    to = folder / "fetched"
    store.download(key, version_id=None, size=size, sha256=sha256, to=str(to))
    content = to.read_bytes()
    to.unlink()
    return content


# moto


@pytest.mark.parametrize("key", ["plain.json", "a folder/with +&=?#%.json", "ünï/☃.json", "a//b", "~tilde-_.x", "a:b@c,d;e!f'g(h)*"])
def test_an_object_of_any_key_is_read(client, moto_url, key):
    client.put_object(Bucket=BUCKET, Key=key, Body=b"content")

    found = reader(moto_url).get(key)

    assert found is not None
    assert found.body == b"content"


def test_an_object_that_has_not_changed_is_not_sent_again(client, moto_url):
    client.put_object(Bucket=BUCKET, Key="alias.json", Body=b"one")
    store = reader(moto_url)
    first = store.get("alias.json")
    assert first is not None
    assert store.get("alias.json", unless_etag=first.etag) is None

    client.put_object(Bucket=BUCKET, Key="alias.json", Body=b"two")

    second = store.get("alias.json", unless_etag=first.etag)
    assert second is not None
    assert second.body == b"two"


def test_a_version_is_read_after_it_was_written_over(client, moto_url):
    old = client.put_object(Bucket=BUCKET, Key="versioned", Body=b"old")["VersionId"]
    new = client.put_object(Bucket=BUCKET, Key="versioned", Body=b"new")["VersionId"]

    found = [reader(moto_url).get("versioned", version_id=version) for version in (old, new, None)]

    assert [(item.body, item.version_id) for item in found if item] == [(b"old", old), (b"new", new), (b"new", new)]


def test_a_file_is_downloaded_and_verified(client, moto_url, tmp_path):
    version = client.put_object(Bucket=BUCKET, Key="model.onnx", Body=BODY)["VersionId"]
    client.put_object(Bucket=BUCKET, Key="model.onnx", Body=b"other")
    to = tmp_path / "model.onnx"

    reader(moto_url).download("model.onnx", version_id=version, size=len(BODY), sha256=SHA256, to=str(to))

    assert to.read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [to]


@pytest.mark.parametrize(("size", "sha256"), [(len(BODY), "0" * 64), (len(BODY) + 1, SHA256)])
def test_a_file_of_other_bytes_is_not_left(client, moto_url, tmp_path, size, sha256):
    client.put_object(Bucket=BUCKET, Key="model.onnx", Body=BODY)

    with pytest.raises(UnverifiedModel, match=f"found SHA-256 {SHA256} of {len(BODY)} bytes, expected {sha256} of {size} bytes"):
        fetch(reader(moto_url), tmp_path, size=size, sha256=sha256)
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_goes_on_is_not_written_to_its_end(client, moto_url, tmp_path):
    client.put_object(Bucket=BUCKET, Key="model.onnx", Body=bytes(3 * 2**20))

    with pytest.raises(UnverifiedModel, match="found more than 100 bytes, expected 100 bytes"):
        fetch(reader(moto_url), tmp_path, size=100, sha256=SHA256)
    assert list(tmp_path.iterdir()) == []


def test_an_object_is_deleted_and_one_that_is_not_there_too(client, moto_url):
    bucket = reader(moto_url)
    bucket.put("to delete", b"body")

    bucket.delete("to delete")
    bucket.delete("to delete")

    with pytest.raises(ObjectNotFound):
        bucket.get("to delete")


@pytest.mark.skipif(shutil.which("curl") is None, reason="it is curl that users will upload with")
def test_curl_sends_a_file_to_a_presigned_url_and_gets_it_back_without_any_header(client, moto_url, tmp_path):
    bucket = reader(moto_url)
    (tmp_path / "sent").write_bytes(BODY)

    put = bucket.presigned_put("uploads/ü", size=len(BODY), seconds=60)
    subprocess.run(["curl", "-fsS", "-T", tmp_path / "sent", put], check=True, timeout=30)
    get = bucket.presigned_get("uploads/ü", content_type="application/octet-stream", seconds=60)
    found = subprocess.run(["curl", "-fsSi", get], check=True, timeout=30, capture_output=True).stdout

    assert found.endswith(b"\r\n\r\n" + BODY)
    assert b"content-type: application/octet-stream\r\n" in found.lower()


def test_a_listing_is_sorted_whole_and_of_its_prefix(client, moto_url, monkeypatch):
    keys = sorted(f"many/{number:03d} &+é.json" for number in range(25))
    for key in keys:
        client.put_object(Bucket=BUCKET, Key=key, Body=b"")
    monkeypatch.setattr("moto.s3.responses.DEFAULT_MAX_KEYS", 10, raising=False)

    assert reader(moto_url).list("many/") == keys
    assert reader(moto_url).list("none/") == []


def test_a_listing_goes_on_where_its_page_ended():
    first = b"<R xmlns='x'><Contents><Key>b</Key></Contents><NextContinuationToken>t/+=</NextContinuationToken></R>"
    second = b"<R xmlns='x'><Contents><Key>a</Key></Contents></R>"

    with scripted(response(200, first), response(200, second)) as server:
        assert reader(server.url).list("p/") == ["a", "b"]
        assert "continuation-token=t%2F%2B%3D&list-type=2&prefix=p%2F " in server.requests[1]


def test_a_key_that_is_not_there_is_not_found(client, moto_url):
    with pytest.raises(ObjectNotFound, match="no object 'nothing'"):
        reader(moto_url).get("nothing")


def test_a_bucket_that_is_not_there_is_unavailable(client, moto_url):
    """A wrong setting, and not a model that was never promoted."""
    with pytest.raises(StoreUnavailable, match="HTTP 404 NoSuchBucket"):
        reader(moto_url, bucket="nowhere").get("key")


@pytest.mark.parametrize("key", ["plain/request", "a folder/with +&=?#%.json", "ünï/☃.json", "a:b@c,d;e!f'g(h)*"])
@pytest.mark.parametrize("body", [b"{}", BODY], ids=len)
def test_a_new_object_is_written_and_never_written_over(client, moto_url, key, body):
    store, key = reader(moto_url), f"{len(body)}/{key}"

    store.put(key, body)

    assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body
    with pytest.raises(PreconditionFailed):
        store.put(key, b"other")
    assert store.read(key, most=len(body)) == body


def test_an_object_is_written_whether_or_not_there_is_one(client, moto_url):
    store = reader(moto_url)

    for body in (b"", BODY, b"last"):
        store.replace("again/und ü", body)
        assert client.get_object(Bucket=BUCKET, Key="again/und ü")["Body"].read() == body


@pytest.mark.parametrize("size", [0, 1, len(BODY)])
def test_the_size_of_an_object_is_its_bytes(client, moto_url, size):
    client.put_object(Bucket=BUCKET, Key="sized", Body=BODY[:size])

    assert reader(moto_url).size("sized") == size


def test_an_object_that_is_not_there_has_no_size(client, moto_url):
    with pytest.raises(ObjectNotFound):
        reader(moto_url).size("nothing")


def test_a_size_is_known_without_the_object():
    with scripted(response(200, b"only the start", announced=2**40)) as server:
        assert reader(server.url).size("k") == 2**40


@pytest.mark.parametrize("told", [b"", b"Content-Length: x\r\n", b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_an_answer_that_tells_no_size_is_given_up(told):
    with scripted(*[b"HTTP/1.1 200 OK\r\n" + told + b"\r\n"] * 3) as server, pytest.raises(StoreUnavailable, match="is not a size"):
        reader(server.url).size("k")


def test_an_object_over_a_size_is_not_read(client, moto_url):
    client.put_object(Bucket=BUCKET, Key="large", Body=BODY)

    assert reader(moto_url).read("large", most=len(BODY)) == BODY
    assert reader(moto_url).read("large", most=len(BODY) - 1) is None
    with pytest.raises(ObjectNotFound):
        reader(moto_url).read("nothing", most=1)


# Faults


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_fault_is_tried_again_after_a_growing_pause(status):
    pauses: list[float] = []
    with scripted(failure(status, "SlowDown"), failure(status, "SlowDown"), response(200, b"content")) as server:
        found = reader(server.url, pauses=pauses).get("key")

    assert found is not None
    assert found.body == b"content"
    assert len(pauses) == 2
    assert 0.025 <= pauses[0] <= 0.075
    assert 0.05 <= pauses[1] <= 0.15


def test_a_fault_that_does_not_pass_is_given_up_after_three_attempts():
    with scripted(failure(503, "SlowDown")) as server:
        with pytest.raises(StoreUnavailable, match=r"HTTP 503 SlowDown \(3 attempts\); `modelctl doctor`"):
            reader(server.url).get("key")
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    "broken",
    [response(200, BODY[:5000], announced=len(BODY)), response(200, BODY[:5000], announced=len(BODY)) + RESET],
    ids=["closed", "reset"],
)
def test_a_body_that_breaks_off_is_fetched_again(tmp_path, broken):
    with scripted(broken, response(200, BODY)) as server:
        assert fetch(reader(server.url), tmp_path) == BODY
        assert len(server.requests) == 2


def test_a_body_that_always_breaks_off_leaves_no_file(tmp_path):
    with scripted(response(200, BODY[:5000], announced=len(BODY))) as server:
        with pytest.raises(StoreUnavailable, match=r"too early \(3 attempts\)"):
            fetch(reader(server.url), tmp_path)
        assert len(server.requests) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 \xb200\r\nContent-Length: 0\r\n\r\n",  # a superscript two: a digit, but none that int() reads
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n1234567890",
        b"HTTP/1.1 200 OK\r\n" + b"a: b" * 10_000,
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: x\r\n" % number for number in range(200)) + b"\r\n",
    ],
)
def test_what_is_no_http_is_unavailable(answer):
    with scripted(answer) as server, pytest.raises(StoreUnavailable, match="3 attempts"):
        reader(server.url).get("key")


@given(st.binary(max_size=120))
def test_any_bytes_for_an_answer_are_unavailable(answer):
    with scripted(b"HTTP/1.1 200" + answer) as server:
        try:
            found = reader(server.url).get("key")
        except StoreUnavailable:
            found = None
        assert found is None or isinstance(found.body, bytes)


def test_a_chunked_body_is_read():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"
    with scripted(chunked) as server:
        found = reader(server.url).get("key")

    assert found is not None
    assert found.body == b"abc0123456789"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDenied"),
        (403, "ExpiredToken"),
        (301, "PermanentRedirect"),
        (400, "InvalidArgument"),
        (405, ""),
        (412, "PreconditionFailed"),
    ],
)
def test_a_refusal_is_said_with_its_code_and_not_tried_again(status, code):
    with scripted(failure(status, code)) as server:
        with pytest.raises(StoreUnavailable, match=f"'?key'?: HTTP {status} {code}"):
            reader(server.url).get("key")
        assert len(server.requests) == 1


def test_a_write_that_meets_another_attempt_is_tried_again():
    """S3 answers 409 while it writes an object of the same key; a 412 says that it has one."""
    with scripted(failure(409, "ConditionalRequestConflict"), failure(503, "SlowDown"), failure(412, "PreconditionFailed")) as server:
        with pytest.raises(PreconditionFailed):
            reader(server.url).put("key", b"body")
        assert server.bodies == [b"body"] * 3


@pytest.mark.parametrize("code", ["AccessDenied", "KMS.DisabledException"])
def test_a_write_that_is_refused_is_not_tried_again(code):
    with scripted(failure(403, code)) as server:
        with pytest.raises(StoreUnavailable, match=f"key: HTTP 403 {code}"):
            reader(server.url).put("key", b"body")
        assert len(server.requests) == 1


def test_a_deletion_is_answered_without_a_body_nor_its_length():
    with scripted(failure(503, "SlowDown"), b"HTTP/1.1 204 No Content\r\n\r\n") as server:
        reader(server.url).delete("a key")
        assert [request.splitlines()[0] for request in server.requests] == ["DELETE /store/a%20key HTTP/1.1"] * 2


@pytest.mark.parametrize("answer", [failure(403, "AccessDenied"), response(200)])
def test_what_is_no_answer_to_a_deletion_is_said(answer):
    with scripted(answer) as server, pytest.raises(StoreUnavailable, match="key: HTTP"):
        reader(server.url).delete("key")


def test_nothing_that_is_read_is_answered_without_a_body():
    with scripted(response(204)) as server, pytest.raises(StoreUnavailable, match="key: HTTP 204"):
        reader(server.url).get("key")


def test_a_write_has_a_second_for_each_mib_beyond_what_a_document_has(monkeypatch):
    monkeypatch.setattr(s3_module, "PATIENCE", 0.1)
    monkeypatch.setattr(s3_module, "_SLOWEST", 10_000)
    begun = time.monotonic()
    with trickling(HEADS["body"]) as url, pytest.raises(StoreUnavailable, match="timed out"):
        reader(url).put("key", bytes(3000))
    assert time.monotonic() - begun > 0.3


def test_a_missing_key_is_not_tried_again():
    with scripted(failure(404, "NoSuchKey")) as server:
        with pytest.raises(ObjectNotFound):
            reader(server.url).get("key")
        assert len(server.requests) == 1


def test_a_host_that_does_not_listen_is_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

    with pytest.raises(StoreUnavailable, match="3 attempts"):
        reader(url).get("key")


def test_a_silent_host_is_given_up_before_lambda_gives_up_on_init(monkeypatch):
    """Lambda waits 10 s for INIT; each attempt costs at most a timeout and the pause behind it."""
    timeout = aws._TIMEOUT
    pauses: list[float] = []
    monkeypatch.setattr(aws, "_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(StoreUnavailable, match=r"timed out \(3 attempts\)"):
        reader(f"http://127.0.0.1:{silent.getsockname()[1]}", pauses=pauses).get("key")
    longest_pauses = [1.5 * aws._FIRST_PAUSE * 2**number for number in range(len(pauses))]
    assert all(pause <= longest for pause, longest in zip(pauses, longest_pauses, strict=True))
    assert 3 * timeout + sum(longest_pauses) < 9


def test_an_invocation_that_is_nearly_over_waits_for_nobody(monkeypatch):
    monkeypatch.setattr(aws, "_TIMEOUT", 60)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(StoreUnavailable, match="timed out"):
        reader(f"http://127.0.0.1:{silent.getsockname()[1]}", remaining=lambda: 0.1).get("key")


@contextmanager
def trickling(head: bytes) -> Iterator[str]:
    """A server that sends `head`, and then a byte every 10 ms, to all who come."""

    def trickle(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, suppress(OSError):
                    connection.sendall(head)
                    while True:
                        connection.sendall(b"x")
                        time.sleep(0.01)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=trickle, args=(server,), daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


HEADS = {
    "status line": b"",
    "header": b"HTTP/1.1 200 OK\r\na: ",
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    "error": b"HTTP/1.1 503 Slow Down\r\nContent-Length: 100000\r\n\r\n",
    "refusal": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100000\r\n\r\n",
    "chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_download_that_trickles_is_given_up_when_the_invocation_is_over(tmp_path, head):
    with trickling(head) as url, pytest.raises(StoreUnavailable, match="timed out"):
        fetch(reader(url, remaining=lambda: 0.2), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_download_has_a_second_for_each_mib_beyond_what_a_document_has(tmp_path, monkeypatch):
    monkeypatch.setattr(s3_module, "PATIENCE", 0.1)
    monkeypatch.setattr(s3_module, "_SLOWEST", 10_000)
    with trickling(HEADS["body"]) as url, pytest.raises(StoreUnavailable, match="timed out"):
        fetch(reader(url), tmp_path, size=1000)


def test_a_document_that_does_not_end_is_given_up():
    expected = pytest.raises(StoreUnavailable, match=r"larger than 16,777,216 bytes \(3 attempts\)")
    with scripted(response(200, b"x" * (17 * 2**20))) as server, expected:
        reader(server.url).get("key")


def test_unchanged_is_no_answer_to_who_did_not_ask(tmp_path):
    with scripted(response(304)) as server:
        with pytest.raises(StoreUnavailable, match="HTTP 304"):
            reader(server.url).get("key")
        with pytest.raises(StoreUnavailable, match="HTTP 304"):
            fetch(reader(server.url), tmp_path)
        assert reader(server.url).get("key", unless_etag='"x"') is None


def test_a_listing_that_is_none_is_unavailable():
    with scripted(response(200, b"<html><br></html>")) as server, pytest.raises(StoreUnavailable, match="p/: its listing is no XML"):
        reader(server.url).list("p/")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("body", [BODY, b"small"], ids=["large", "small"])
def test_a_full_disk_is_said_with_what_to_raise(tmp_path, monkeypatch, body):
    """Also of a model that a buffer would hold until it is closed."""
    monkeypatch.setattr(s3_module, "open", lambda _name, *how: open("/dev/full", *how), raising=False)  # noqa: SIM115 - closed by its reader
    with scripted(response(200, body)) as server:
        with pytest.raises(StoreUnavailable, match=r"No space left on device while writing; raise ephemeral_storage in model.toml"):
            fetch(reader(server.url), tmp_path)
        assert len(server.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_unavailable(tmp_path):
    with scripted(response(200, BODY)) as server, pytest.raises(StoreUnavailable):
        fetch(reader(server.url), tmp_path / "none")


# Signatures


def head(server: Scripted) -> tuple[str, dict[str, str]]:
    first, *lines = server.requests[0].strip().split("\r\n")
    return first.split(" ")[1], {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


@pytest.mark.parametrize("token", [None, "session/token+="])
@pytest.mark.parametrize(
    ("key", "version"), [("models/a/b.json", None), ("a b/+&=?#%/é☃~-_.'()*!:@,;$", None), ("models/a.onnx", "v/+ =&1")]
)
def test_a_request_is_signed_as_botocore_signs_it(key, version, token):
    with scripted(response(200, b"", ETag='"x"')) as server:
        reader(server.url, token=token).get(key, version_id=version)
        target, sent = head(server)

        request = AWSRequest("GET", server.url + target)
        request.context["payload_signing_enabled"] = True
        request.headers["X-Amz-Date"] = sent["x-amz-date"]
        auth = S3SigV4Auth(BotocoreCredentials("local", "local", token), "s3", "us-east-1")
        request.context["timestamp"] = sent["x-amz-date"]
        if token:
            request.headers["X-Amz-Security-Token"] = token
        request.headers["X-Amz-Content-SHA256"] = sent["x-amz-content-sha256"]
        canonical = auth.canonical_request(request)
        signature = auth.signature(auth.string_to_sign(request, canonical), request)

    assert sent["authorization"].endswith(f"Signature={signature}")
    assert f"SignedHeaders={auth.signed_headers(auth.headers_to_sign(request))}," in sent["authorization"]
    assert sent.get("x-amz-security-token") == token


@pytest.mark.parametrize("key", ["models/a/b.json", "a b/+&=?#%/é☃~-_.'()*!:@,;$", "a//b"])
def test_a_key_is_written_into_the_url_as_botocore_writes_it(key):
    with scripted(response(200, b"")) as server:
        reader(server.url).get(key)
        ours, _ = head(server)
    with scripted(response(200, b"", ETag='"x"')) as server:
        session = get_session()
        session.set_credentials("local", "local")
        client: Any = session.create_client("s3", region_name="us-east-1", endpoint_url=server.url)
        client.get_object(Bucket=BUCKET, Key=key)
        theirs, _ = head(server)

    assert ours == theirs


@pytest.mark.parametrize("key", ["m/shop/0f/request", "a b/+&=?#%/é☃~-_.'()*!:@,;$"])
def test_a_write_is_signed_as_botocore_signs_it(key):
    """Also the condition, without which S3 would write over what is there."""
    with scripted(response(200, b"", ETag='"x"')) as server:
        reader(server.url).put(key, b"body")
        target, sent = head(server)

        request = AWSRequest("PUT", server.url + target, data=b"body", headers={"if-none-match": "*"})
        request.context["payload_signing_enabled"] = True
        request.context["timestamp"] = request.headers["X-Amz-Date"] = sent["x-amz-date"]
        request.headers["X-Amz-Content-SHA256"] = sent["x-amz-content-sha256"]
        auth = S3SigV4Auth(BotocoreCredentials("local", "local"), "s3", "us-east-1")
        signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)

    assert sent["x-amz-content-sha256"] == hashlib.sha256(b"body").hexdigest()
    assert sent["authorization"].endswith(f"Signature={signature}")


@pytest.mark.parametrize("token", [None, "session/token+="])
@pytest.mark.parametrize("url", ["https://jobs.s3.eu-west-1.amazonaws.com", "http://127.0.0.1:1234"])
@pytest.mark.parametrize("key", ["_uploads/shop/0f", "a b/+&=?#%/é☃~-_.'()*!:@,;$"])
@pytest.mark.parametrize("size", [None, 0, 2**28])
def test_a_url_is_signed_as_botocore_signs_it(url, key, size, token):
    """Every part of the query, byte for byte, in an order that means nothing."""
    bucket = reader(url, bucket="jobs", token=token)
    if size is None:
        ours = bucket.presigned_get(key, content_type="application/json", seconds=900)
    else:
        ours = bucket.presigned_put(key, size=size, seconds=900)
    parts = set(ours.partition("?")[2].split("&"))

    operation = "?response-content-type=application/json" if size is None else ""
    request = AWSRequest("GET" if size is None else "PUT", ours.partition("?")[0] + operation)
    if size is not None:
        request.headers["content-length"] = str(size)
    (stamp,) = (part.partition("=")[2] for part in parts if part.startswith("X-Amz-Date="))
    theirs = _presigned_by_botocore(request, stamp, token)

    assert theirs.partition("?")[0] == ours.partition("?")[0] == f"{url}/{bucket._base.lstrip('/')}{aws.quote(key, '/')}"
    assert parts == set(theirs.partition("?")[2].split("&"))
    assert "X-Amz-SignedHeaders=host" in parts if size is None else "X-Amz-SignedHeaders=content-length%3Bhost" in parts


def _presigned_by_botocore(request: AWSRequest, stamp: str, token: str | None) -> str:
    auth = S3SigV4QueryAuth(BotocoreCredentials("local", "local", token), "s3", "us-east-1", expires=900)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: datetime.strptime(stamp, "%Y%m%dT%H%M%SZ"))  # noqa: DTZ007 - as botocore's
        auth.add_auth(request)
    return str(request.url)


def test_each_attempt_is_signed_anew():
    used: list[int] = []

    def credentials() -> Credentials:
        used.append(1)
        return Credentials(f"key{len(used)}", "secret", None)

    with scripted(failure(503, ""), response(200, b"")) as server:
        S3Reader(BUCKET, region="us-east-1", endpoint=server.url, credentials=credentials, sleep=lambda _: None).get("key")
        assert ["key1" in server.requests[0], "key2" in server.requests[1]] == [True, True]


@pytest.mark.parametrize(
    ("region", "host"), [("eu-west-1", "store.s3.eu-west-1.amazonaws.com"), ("cn-north-1", "store.s3.cn-north-1.amazonaws.com.cn")]
)
def test_without_an_endpoint_it_is_the_regions_own_over_tls(region, host):
    store = S3Reader.from_environ(BUCKET, {"AWS_REGION": region})

    assert (store._service._host, store._service._secure, store._base) == (host, True, "/")


def test_a_bucket_with_dots_goes_into_the_path_that_no_certificate_covers():
    store = S3Reader.from_environ("my.store", {"AWS_REGION": "eu-west-1"})

    assert (store._service._host, store._base) == ("s3.eu-west-1.amazonaws.com", "/my.store/")


# Ahead and after


def test_what_was_begun_is_given_to_the_first_who_asks():
    with scripted(response(200, b"one"), response(200, b"two"), keep=True) as server:
        store = reader(server.url)
        store.begin("key")
        found = [store.get("key"), store.get("key")]
        store.close()

    assert [item.body for item in found if item] == [b"one", b"two"]


def test_what_was_begun_and_failed_is_raised_to_the_first_who_asks():
    with scripted(failure(404, "NoSuchKey"), response(200, b"two"), keep=True) as server:
        store = reader(server.url)
        store.begin("key")
        with pytest.raises(ObjectNotFound):
            store.get("key")
        assert store.get("key") is not None
        store.close()


def test_a_state_that_is_known_is_not_answered_with_what_was_begun():
    with scripted(response(200, b"one"), response(304), keep=True) as server:
        store = reader(server.url)
        store.begin("key")
        store._begun["key"].wait()  # the first answer is its own
        assert store.get("key", unless_etag='"x"') is None
        store.close()


def test_what_is_read_goes_over_one_connection_and_what_is_written_over_another():
    """A write that was sent again on a fresh connection would meet itself."""
    with scripted(response(200, b"content"), keep=True) as server:
        store = reader(server.url)
        for _ in range(3):
            store.get("key")
        assert server.connections == 1
        store.close()
        store.put("key", b"body")
        assert server.connections == 2
        assert "Connection: close" in server.requests[-1]


# Authorities


def test_the_authorities_of_awss_hosts_are_those_that_everybody_has():
    """All that Mozilla trusts of Amazon's, and nothing else."""
    roots = {ssl.PEM_cert_to_DER_cert(cert) for cert in _certificates(Path(_http._ROOTS).read_text("ascii"))}
    bundle = Path(certifi.where()).read_text("ascii")

    assert len(roots) == 5
    assert roots <= {ssl.PEM_cert_to_DER_cert(cert) for cert in _certificates(bundle)}
    assert len(re.findall(r'# Label: "(?:Amazon Root CA|Starfield Services Root)', bundle)) == 5


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("store.s3.eu-west-1.amazonaws.com", [_http._ROOTS]),
        ("kms.cn-north-1.amazonaws.com.cn", [_http._ROOTS]),
        ("amazonaws.com.example.org", [None]),
        ("s3.example.org:8443", [None]),
        ("localamazonaws.com", [None]),
    ],
)
def test_awss_own_hosts_are_verified_by_amazons_authorities_and_others_by_the_systems(monkeypatch, host, asked):
    roots: list[str | None] = []
    monkeypatch.setattr(_http, "_open", lambda *_: socket.socket())

    def wrapped(connection: socket.socket, _name: str, given: str | None) -> socket.socket:
        roots.append(given)
        return connection

    monkeypatch.setattr(_http, "_wrapped", wrapped)

    _http.connected(host, secure=True, timeout=1).close()

    assert roots == asked


@pytest.mark.parametrize("dialled", [False, True])
def test_an_aws_host_that_amazons_authorities_do_not_vouch_for_is_verified_by_the_systems(monkeypatch, dialled):
    """As where a company inspects what leaves its network; the certificate is still verified."""
    roots: list[str | None] = []

    def wrapped(connection: socket.socket, _name: str, given: str | None) -> socket.socket:
        roots.append(given)
        if given is not None:
            connection.close()
            raise ssl.SSLCertVerificationError("self-signed")
        return connection

    opened: list[object] = []
    monkeypatch.setattr(_http, "_open", lambda *_: opened.append(1) or socket.socket())  # type: ignore[func-returns-value]
    monkeypatch.setattr(_http, "_dialled", lambda *_: socket.socket())
    monkeypatch.setattr(_http, "_wrapped", wrapped)

    dial: Any = object() if dialled else None
    _http.connected("store.s3.eu-west-1.amazonaws.com", secure=True, timeout=1, dial=dial).close()

    assert roots == [_http._ROOTS, None]
    assert len(opened) == (1 if dialled else 2)


def test_what_a_handshake_needs_is_made_once_by_whoever_comes_first(monkeypatch):
    made: list[str | None] = []

    def create(cafile: str | None) -> object:
        made.append(cafile)
        time.sleep(0.05)  # others come meanwhile
        return object()

    monkeypatch.setattr(_http, "_made", {})
    monkeypatch.setattr(ssl, "create_default_context", create)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(_http.prepare, ["store.s3.eu-west-1.amazonaws.com:443"] * 2 + ["localhost:1"] * 2))

    assert sorted(made, key=str) == sorted([_http._ROOTS, None], key=str)


def _certificates(bundle: str) -> list[str]:
    return re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", bundle, re.DOTALL)
