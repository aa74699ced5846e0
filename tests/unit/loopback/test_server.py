"""The server of a bench speaks to the functions' own client: ranges, TLS by an authority of its own, and a network's delay."""

import hashlib
import ssl
import time
from pathlib import Path

import pytest

from modelserve import _http, s3
from modelserve.aws import Credentials, JsonService
from modelserve.errors import ObjectNotFound
from modelserve.s3 import S3Reader
from modelserve.signature import public_key
from tools.loopback.authority import KEY_ARN, Signer, certificate
from tools.loopback.server import KEY_FILE, Network, serving

BODY = bytes(range(256)) * 8192  # 2 MiB


def reader(url: str) -> S3Reader:
    return S3Reader("models", region="us-east-1", endpoint=url, credentials=lambda: Credentials("a", "s", None))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "store" / "models").mkdir(parents=True)
    (tmp_path / "store" / "models" / "a b").write_bytes(BODY)
    return tmp_path / "store"


@pytest.mark.parametrize("ranged", [1, 2**30], ids=["in ranges", "as a whole"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_a_file_is_downloaded(folder, tmp_path, monkeypatch, ranged, secure):
    monkeypatch.setattr(s3, "_RANGED", ranged)
    chain, roots = certificate(tmp_path)
    monkeypatch.setattr(_http, "_tls", lambda _: ssl.create_default_context(cafile=str(roots)))
    to = tmp_path / "to"
    with serving(folder, Network(certificate=str(chain) if secure else "")) as url:
        assert url.startswith("https:" if secure else "http:")
        store = reader(url)
        store.download("a b", version_id=None, size=len(BODY), sha256=hashlib.sha256(BODY).hexdigest(), to=str(to))
        with pytest.raises(ObjectNotFound):
            store.get("nothing")
        store.close()
    assert to.read_bytes() == BODY


def test_what_was_opened_ahead_over_tls_is_used(folder, tmp_path, monkeypatch):
    """TLS 1.3 begins with tickets, which are nothing that a peer has said out of turn."""
    chain, roots = certificate(tmp_path)
    opened: list[str] = []
    context, wrapped = ssl.create_default_context(cafile=str(roots)), _http._wrapped
    monkeypatch.setattr(_http, "_tls", lambda _: context)
    monkeypatch.setattr(_http, "_wrapped", lambda connection, name, given: opened.append(name) or wrapped(connection, name, given))  # type: ignore[func-returns-value]
    with serving(folder, Network(certificate=str(chain))) as url:
        connections = reader(url)._service.connections
        connections.open(1)
        for _ in range(2):
            time.sleep(0.05)  # the tickets are there
            with connections.request("GET", "/models/a%20b", {}, timeout=5, ends=time.monotonic() + 5) as response:
                assert b"".join(response.chunks()) == BODY
        connections.close()
    assert len(opened) == 1


def test_a_server_without_its_authority_is_refused(folder, tmp_path):
    chain, _ = certificate(tmp_path)
    with serving(folder, Network(certificate=str(chain))) as url, pytest.raises(ssl.SSLCertVerificationError):
        _http.connected(url.removeprefix("https://"), secure=True, timeout=5)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_a_request_takes_the_round_trips_that_it_has(folder, tmp_path, monkeypatch, secure):
    """One for the connection, one for TLS and one for the request; the next request finds the connection."""
    seconds = 0.1
    chain, roots = certificate(tmp_path)
    monkeypatch.setattr(_http, "_tls", lambda _: ssl.create_default_context(cafile=str(roots)))
    with serving(folder, Network(certificate=str(chain) if secure else "", round_trip=seconds)) as url:
        store, begun = reader(url), time.monotonic()
        store.get("a b")
        between = time.monotonic()
        store.get("a b")
        ended = time.monotonic()
        store.close()
    assert between - begun >= (3 if secure else 2) * seconds
    assert ended - between >= seconds


def test_files_take_as_long_as_the_network_is_narrow_on_however_many_connections(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(s3, "_RANGED", 1)
    with serving(folder, Network(bandwidth=4 * len(BODY))) as url:
        store, begun = reader(url), time.monotonic()
        store.download("a b", version_id=None, size=len(BODY), sha256=hashlib.sha256(BODY).hexdigest(), to=str(tmp_path / "to"))
        assert time.monotonic() - begun >= 1 / 4
        store.close()


def test_its_key_is_one_that_signs(folder):
    signer = Signer()
    (folder / KEY_FILE).write_bytes(signer.answer())
    digest = hashlib.sha256(b"manifest").hexdigest()
    with serving(folder, Network()) as url:
        environ = {"AWS_ENDPOINT_URL_KMS": url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
        answer = JsonService.from_environ("kms", environ).call("TrentService.GetPublicKey", {"KeyId": KEY_ARN})

    assert public_key(KEY_ARN, answer).signed(digest, signer.sign(digest))
    assert signer.signed(digest, signer.sign(digest))
    assert not signer.signed(digest, Signer().sign(digest))
