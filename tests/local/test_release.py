"""A release as clients see it: versions change under them, and no request fails."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Self

import pytest
from typer.testing import CliRunner

from modelserve.endpoints import Response
from tests.local.releases import FLOWING, call, eventually, result
from tests.unit.modelctl.factories import TRAIN, model_folder
from tools.modelctl import console, paths
from tools.modelctl.cli import app

pytestmark = [
    pytest.mark.xdist_group("release"),
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program"),
]
CLIENTS = 3
SETTLED = 10
"""Answers in a row."""
PATIENCE = 60
"""Seconds."""


class Traffic:
    """Clients that ask one after the other without a pause, until the context ends."""

    def __init__(self, ask: Callable[[], Response]) -> None:
        self.answers: list[list[Response | Exception]] = [[] for _ in range(CLIENTS)]
        self._ended = threading.Event()
        self._clients = [threading.Thread(target=self._keep_asking, args=(ask, answers)) for answers in self.answers]

    def __enter__(self) -> Self:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for client in self._clients:
            client.join()

    def _keep_asking(self, ask: Callable[[], Response], answers: list[Response | Exception]) -> None:
        while not self._ended.is_set():
            try:
                answers.append(ask())
            except Exception as error:  # noqa: BLE001 - a broken connection is a failed request too
                answers.append(error)

    def settle(self, version: str) -> None:
        """Waits until `version` is all that any client hears."""
        begun, deadline = [len(answers) for answers in self.answers], time.monotonic() + PATIENCE
        while not all(_only(version, answers[start:]) for answers, start in zip(self.answers, begun, strict=True)):
            assert time.monotonic() < deadline, [answers[-3:] for answers in self.answers]
            time.sleep(0.05)

    @property
    def failed(self) -> list[Response | Exception]:
        return [each for answers in self.answers for each in answers if not isinstance(each, Response) or each.status != 200]

    @property
    def results(self) -> set[tuple[str, float]]:
        """Every version that answered, with the factor that it answered with."""
        return {result(each) for answers in self.answers for each in list(answers) if isinstance(each, Response) and each.status == 200}


def _only(version: str, answers: list[Response | Exception]) -> bool:
    last = answers[-SETTLED:]
    return len(last) == SETTLED and all(isinstance(each, Response) and version.encode() in each.body for each in last)


def test_promotion_and_rollback_reach_running_processes_without_one_failed_request(served):
    model = served(FLOWING)
    first, second = model.release_scaled(2.0), model.publish_scaled(3.0)
    with Traffic(model.predict) as traffic:
        traffic.settle(first)
        assert traffic.results == {(first, 2.0)}
        model.promote(second)
        traffic.settle(second)
        model.registry.rollback(FLOWING, alias="production", by="ann", reason="")
        traffic.settle(first)
    assert traffic.failed == []
    assert traffic.results == {(first, 2.0), (second, 3.0)}  # each version with its own weights
    assert model.processes <= CLIENTS  # nothing was restarted


def test_a_deployment_with_an_empty_store_says_what_to_run_and_answers_once_that_was_done(served, release):
    model = served("latecomer")
    metadata, ready = (call(release, "GET", f"/v2/models/latecomer{path}") for path in ("", "/ready"))
    for refused in (model.predict(), metadata, ready):
        assert refused.status == 503, refused.body
        assert refused.headers["Retry-After"] == "1"
        assert "modelctl promote latecomer VERSION --alias production" in json.loads(refused.body)["error"]
    server = call(release, "GET", "/v2/health/ready")
    assert (server.status, "modelctl promote latecomer" in json.loads(server.body)["error"]) == (503, True)
    assert state(release, "latecomer")["state"] == "UNAVAILABLE"

    version = model.release_scaled(2.0)
    assert result(eventually(model.predict, lambda answer: answer.status == 200)) == (version, 2.0)
    assert call(release, "GET", "/v2/models/latecomer/ready").status == 200
    assert state(release, "latecomer") == {"name": "latecomer", "version": version, "state": "READY"}
    assert model.processes == 1


def state(release, name):
    index = json.loads(call(release, "POST", "/v2/repository/index").body)
    return next(entry for entry in index if entry["name"] == name)


@pytest.fixture
def modelctl(release, tmp_path, monkeypatch):
    """The command line beside what `make run` leaves while it runs, in a repository with one small model."""
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    monkeypatch.setattr("tools.modelctl.deployment.LOCAL_DEPLOYMENT", tmp_path / "deployment.json")
    monkeypatch.setattr(console.out, "width", 240)
    (tmp_path / "deployment.json").write_text(json.dumps(release.describe()))

    def run(*line):
        done = CliRunner().invoke(app, ["--deployment", "local", *line])
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def test_modelctl_takes_a_model_through_its_releases(served, modelctl, tmp_path):
    versions = []
    for strength in ("C=100", "C=0.01"):
        model_folder(tmp_path / "models", train=TRAIN.replace("C=100", strength))
        versions.append(json.loads(modelctl("publish", "step", "--json"))["version"])
        modelctl("promote", "step", versions[-1], "--reason", strength)
        answer = modelctl("predict", "step", "--json")
        assert json.loads(answer)["model_version"] == versions[-1]
    assert f"{versions[0]} again" in modelctl("rollback", "step", "--reason", "worse")
    assert json.loads(modelctl("predict", "step", "--json"))["model_version"] == versions[0]
    moves = json.loads(modelctl("history", "step", "--json"))
    assert [(move["event"], move["to_version"], move["reason"]) for move in moves] == [
        ("promote", versions[0], "C=100"),
        ("promote", versions[1], "C=0.01"),
        ("rollback", versions[0], "worse"),
    ]
    assert served("step").processes == 1
