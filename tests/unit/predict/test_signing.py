"""What the function says and counts where manifests are signed."""

import json
from typing import Any

import pytest

from modelserve.aws import JsonService
from tests.unit.modelserve.graphs import scaled
from tests.unit.modelserve.signers import ARN, LocalSigner
from tests.unit.modelserve.stores import MemoryStore, Publisher

from .apps import INFER, App, asked, rest, started

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}).encode()
MODEL = "models/sample/versions/{}/model.onnx"


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> LocalSigner:
    signer = LocalSigner()
    monkeypatch.setattr(JsonService, "from_environ", lambda *_, **__: signer)
    return signer


@pytest.fixture
def publisher(store: MemoryStore, kms: LocalSigner, tmp_path) -> Publisher:
    return Publisher(store, tmp_path, signer=kms)


def app(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> App:
    return started(store, monkeypatch, signing_key_arn=ARN, alias_check_seconds=0, service="serverless-onnx-prod")


def counted(capfd: pytest.CaptureFixture[str], name: str) -> list[dict[str, Any]]:
    """The metrics of that name so far."""
    written = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    return [each for each in written if name in each]


def test_a_signed_model_answers(store, publisher, monkeypatch, capfd):
    version = publisher.release(scaled(2))

    answer = asked(app(store, monkeypatch), rest("POST", INFER, BODY))

    assert (answer.status, answer.json["model_version"]) == (200, version)
    assert counted(capfd, "LoadFailure") == []


def test_a_tampered_model_is_refused_at_the_cold_start_and_counted_for_the_deployments_alarm(store, publisher, monkeypatch, capfd):
    store.alter(MODEL.format(publisher.release(scaled(2))), scaled(3))

    answer = asked(app(store, monkeypatch), rest("POST", INFER, BODY))

    assert "is not what was published" in answer.error(503)
    assert answer.headers["Retry-After"] == "1"
    (metric,) = counted(capfd, "UnverifiedModel")
    (directive,) = metric["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "ServerlessOnnx"
    assert directive["Dimensions"] == [["service", "model", "version"], ["service"]]
    assert {"Name": "UnverifiedModel", "Unit": "Count"} in directive["Metrics"]
    assert (metric["service"], metric["UnverifiedModel"], metric["LoadFailure"]) == ("serverless-onnx-prod", [1], [1])


def test_the_old_version_answers_beside_a_tampered_one_which_is_counted_likewise(store, publisher, monkeypatch, capfd):
    first = publisher.release(scaled(2))
    serving = app(store, monkeypatch)
    store.alter(MODEL.format(publisher.release(scaled(3))), scaled(4))

    answer = asked(serving, rest("POST", INFER, BODY))

    assert (answer.status, answer.json["model_version"]) == (200, first)
    (metric,) = counted(capfd, "UnverifiedModel")
    assert ["service"] in metric["_aws"]["CloudWatchMetrics"][0]["Dimensions"]


def test_without_kms_the_caller_is_told_to_come_back(store, publisher, kms, monkeypatch, capfd):
    publisher.release(scaled(2))
    kms.down = "no route to host"

    answer = asked(app(store, monkeypatch), rest("POST", INFER, BODY))

    assert "no route to host" in answer.error(503)
    assert answer.headers["Retry-After"] == "1"
    assert counted(capfd, "UnverifiedModel") == []


def test_where_nothing_is_signed_the_room_of_signatures_is_not_even_imported():
    """Nobody pays at a cold start for what is off."""
    from .test_handler import imported

    assert imported("functions.predict.handler, modelserve.session", {"modelserve.signature", "cryptography"}) == "[]"
