"""Log lines and metrics beside those of the predict function, for the same values."""

from typing import Any

import pytest
from aws_lambda_powertools.logging import logger as powertools

from functions.gpu_gateway.observability import Observer
from functions.predict.observability import Observer as Predict
from tests.unit.predict.apps import Context
from tests.unit.predict.test_observability import KEYS, STAMP, TRACE, comparable, fresh, written


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", TRACE)
    monkeypatch.delenv("POWERTOOLS_DEV", raising=False)
    monkeypatch.setattr(powertools, "is_cold_start", True)  # of the process, whatever ran in it before


def both(service: str, *, level: str = "INFO") -> tuple[Observer, Predict]:
    theirs = Predict(service=service, namespace="ServerlessOnnx", level=level, environ={"_X_AMZN_TRACE_ID": TRACE})
    return Observer(service=service, namespace="ServerlessOnnx", level=level), theirs


def entry(capfd: pytest.CaptureFixture[str], *, place: str) -> dict[str, Any]:
    """The only one, without its time, which has the same form, and its place, which Powertools tells by function and line."""
    (found,) = written(capfd)
    assert found.pop("location").partition(":")[0] == place
    assert STAMP.fullmatch(found.pop("timestamp"))
    return found


def test_a_line_of_a_request_is_predicts(capfd):
    own, theirs = both(fresh())

    @own.logger.inject_lambda_context(log_event=False)
    def handle(_event: Any, context: Any) -> None:
        own.log("INFO", "request", location="handler", context=context, cold_start=True, **KEYS)

    handle({}, Context())
    found = entry(capfd, place="handle")
    theirs.log("INFO", "request", location="handler", context=Context(), cold_start=True, **KEYS)

    assert found == entry(capfd, place="handler")


def test_a_line_outside_of_a_request_is_predicts(capfd):
    own, theirs = both(fresh())
    own.log("ERROR", "no model", location="loader", model="fruit", error="AliasNotFound")
    found = entry(capfd, place="test_a_line_outside_of_a_request_is_predicts")
    theirs.log("ERROR", "no model", location="loader", model="fruit", error="AliasNotFound")

    assert found == entry(capfd, place="loader")


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_lines_below_the_level_are_left_out_as_in_predict(capfd, level):
    for observer in both(fresh(), level=level):
        for called in ("DEBUG", "INFO", "WARNING", "ERROR"):
            observer.log(called, "message", location="handler")
    levels = [each["level"] for each in written(capfd)]

    assert levels[: len(levels) // 2] == levels[len(levels) // 2 :]
    assert levels


@pytest.mark.parametrize("by_service", [False, True])
def test_metrics_are_predicts_and_know_nothing_of_those_before(capfd, by_service):
    for observer in both("fruits"):
        observer.count({"LoadFailure": 1, "RegistryError": 1}, model="fruit", version="none", by_service=True)
        observer.count({"Latency": 1.5, "LoadTime": 20, "ColdStart": 1, "BatchRows": 3}, model="fruit", version="v1", by_service=by_service)
    own_failure, own, failure, theirs = map(comparable, written(capfd))

    assert own_failure == failure
    assert own == theirs


@pytest.mark.parametrize("version", [{"version": "v1"}, {}], ids=["answered", "not answered"])
def test_a_request_is_told_as_predict_tells_it(capfd, version):
    own, theirs = both(fresh())

    @own.logger.inject_lambda_context(log_event=False)
    def handle(_event: Any, context: Any) -> None:
        own.request("INFO", {"model": "fruit", "status": 200, **version}, {"Latency": [1.5], "ColdStart": [1]}, context)

    handle({}, Context())
    line, metrics = written(capfd)
    theirs.request("INFO", {"model": "fruit", "status": 200, **version}, {"Latency": [1.5], "ColdStart": [1]}, Context())
    their_line, their_metrics = written(capfd)

    for each in (line, their_line):
        del each["timestamp"], each["location"]
    assert line == their_line
    assert comparable(metrics) == comparable(their_metrics)
