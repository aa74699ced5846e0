"""Log lines and metrics beside those of Powertools, for the same values."""

import itertools
import json
import os
import re
import time
from typing import Any

import pytest
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.logging import logger as powertools
from aws_lambda_powertools.metrics import MetricUnit

from functions.predict.observability import Observer

from .apps import Context

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=557abcec3ee5a047;Sampled=1"
KEYS: dict[str, Any] = {"model": "fruit", "version": None, "status": 200, "latency_ms": 1.5, "frames": ["a:1 b"]}
_NUMBERS = itertools.count()
STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\+0000")


def fresh() -> str:
    """A service of its own, because Powertools keeps the stream that a service wrote to first."""
    return f"fruits-{next(_NUMBERS)}"


def observer(**settings: Any) -> Observer:
    return Observer(
        **{"service": "fruits", "namespace": "ServerlessOnnx", "level": "INFO", "environ": {"_X_AMZN_TRACE_ID": TRACE}, **settings}
    )


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", TRACE)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.delenv("POWERTOOLS_DEV", raising=False)
    monkeypatch.setattr(powertools, "is_cold_start", True)  # of the process, whatever ran in it before


def written(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def powertools_logs(capfd: pytest.CaptureFixture[str], service: str, *, times: int = 1) -> list[dict[str, Any]]:
    logger = Logger(service=service)

    @logger.inject_lambda_context
    def handle(event: Any, context: Any) -> None:
        logger.info("request", extra=KEYS)

    for _ in range(times):
        handle({}, Context())
    return written(capfd)


def test_a_line_has_powertools_keys_and_values(capfd):
    service = fresh()
    cold, warm = powertools_logs(capfd, service, times=2)
    for cold_start in (True, False):
        observer(service=service).log("INFO", "request", location="handler", context=Context(), cold_start=cold_start, **KEYS)
    ours = written(capfd)

    for theirs, own in zip((cold, warm), ours, strict=True):
        assert STAMP.fullmatch(theirs.pop("timestamp"))
        assert STAMP.fullmatch(own.pop("timestamp"))
        assert theirs.pop("location").startswith("handle:")
        assert own.pop("location") == "handler"
        assert theirs == own


def test_a_line_outside_of_an_invocation_has_powertools_keys_and_values(capfd):
    service = fresh()
    Logger(service=service).error("loaded", extra=KEYS)
    (theirs,) = written(capfd)
    observer(service=service).log("ERROR", "loaded", location="loader", **KEYS)
    (own,) = written(capfd)

    assert set(theirs) == set(own)
    for varying in ("timestamp", "location"):
        del theirs[varying], own[varying]
    assert theirs == own


def test_without_a_trace_neither_has_its_key(capfd, monkeypatch):
    monkeypatch.delenv("_X_AMZN_TRACE_ID")
    (theirs,) = powertools_logs(capfd, fresh())
    observer(environ={}).log("INFO", "request", location="handler", context=Context(), cold_start=True, **KEYS)
    (own,) = written(capfd)

    assert set(theirs) == set(own)
    assert "xray_trace_id" not in own


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_lines_below_the_level_are_left_out_as_in_powertools(capfd, level):
    logger = Logger(service=fresh(), level=level)
    for called in ("debug", "info", "warning", "error"):
        getattr(logger, called)("message")
    theirs = [entry["level"] for entry in written(capfd)]
    for called in ("DEBUG", "INFO", "WARNING", "ERROR"):
        observer(level=level).log(called, "message", location="handler")

    assert [entry["level"] for entry in written(capfd)] == theirs


def test_a_metric_is_powertools_embedded_metric(capfd):
    metrics = Metrics(namespace="ServerlessOnnx", service="fruits")
    metrics.add_dimension("model", "fruit")
    metrics.add_dimension("version", "v1")
    metrics.add_metric("Latency", MetricUnit.Milliseconds, 1.5)
    metrics.add_metric("LoadTime", MetricUnit.Milliseconds, 20)
    metrics.add_metric("ColdStart", MetricUnit.Count, 1)
    metrics.add_metric("BatchRows", MetricUnit.Count, 3)
    metrics.flush_metrics()
    (theirs,) = written(capfd)
    observer().count({"Latency": 1.5, "LoadTime": 20, "ColdStart": 1, "BatchRows": 3}, model="fruit", version="v1")
    (own,) = written(capfd)

    for document in (theirs, own):
        assert abs(document["_aws"]["Timestamp"] - 1000 * time.time()) < 60_000
    assert comparable(own) == comparable(theirs)


def test_a_metric_for_the_service_as_a_whole_is_powertools_with_a_second_set_of_dimensions(capfd):
    metrics = Metrics(namespace="ServerlessOnnx", service="fruits")
    metrics.add_dimension("model", "fruit")
    metrics.add_dimension("version", "none")
    metrics.add_metric("UnverifiedModel", MetricUnit.Count, 1)
    metrics.add_dimensions(service="fruits")
    metrics.flush_metrics()
    (theirs,) = written(capfd)
    observer().count({"UnverifiedModel": 1}, model="fruit", version="none", by_service=True)
    (own,) = written(capfd)

    assert dimensions(own) == dimensions(theirs) == [["model", "service", "version"], ["service"]]
    assert comparable(own) == comparable(theirs)


def dimensions(document: dict[str, Any]) -> list[list[str]]:
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    return [sorted(names) for names in directive["Dimensions"]]


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    """All but the time and the order of dimensions, which says nothing."""
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    return {**document, "_aws": {**directive, "Dimensions": dimensions(document)}}


def test_the_time_of_a_line_is_that_of_the_clock_in_utc(capfd, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1795204860.0079)
    observer().log("INFO", "request", location="handler")

    assert written(capfd)[0]["timestamp"] == "2026-11-20 20:01:00,007+0000"


@pytest.mark.parametrize("level", ["INFO", "ERROR"])
def test_a_request_is_told_as_a_line_and_then_its_metrics_in_one_write(capfd, level):
    told = {key: value for key, value in KEYS.items() if value is not None}
    watched = observer(level=level)
    watched.log("INFO", "request", location="handler", context=Context(), **KEYS)
    watched.count({"Latency": 1.5}, model="fruit", version="none")
    apart = capfd.readouterr().out
    writes: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", taking(writes))
        watched.request("INFO", told, {"Latency": [1.5]}, Context())

    (lines,) = writes
    assert lines.endswith(b"\n")
    assert timeless(lines.decode()) == timeless(apart)


def taking(taken: list[bytes], *, most: int | None = None) -> Any:
    """`os.write` of a descriptor that takes so many bytes at a time."""

    def write(_: int, lines: bytes) -> int:
        taken.append(lines[:most])
        return len(taken[-1])

    return write


def test_lines_of_which_the_system_takes_a_part_are_written_to_their_end(monkeypatch):
    taken: list[bytes] = []
    monkeypatch.setattr(os, "write", taking(taken, most=100))
    observer().log("INFO", "x" * 1000, location="handler")

    assert len(taken) > 10
    assert json.loads(b"".join(taken))["message"] == "x" * 1000


def test_what_varies_between_requests_is_told_of_each(capfd, monkeypatch):
    """Though what their lines have in common is written once."""
    watched, other = observer(), Context()
    monkeypatch.setattr(other, "invoked_function_arn", "arn:of-a-version", raising=False)
    requests: list[tuple[Any, str, dict[str, list[float]], dict[str, str]]] = [
        (Context(), "INFO", {"Latency": [1.5], "ColdStart": [1]}, {"version": "v1"}),
        (Context(), "INFO", {"Latency": [2.5]}, {"version": "v1"}),
        (other, "INFO", {"Latency": [2.5]}, {"version": "v2"}),
        (other, "ERROR", {"Latency": [2.5], "ModelFailed": [1]}, {"version": "v2"}),
        (other, "ERROR", {"Latency": [2.5], "ModelNotReady": [1]}, {}),
    ]
    for context, level, metrics, version in requests:
        watched.request(level, {"model": "fruit", **version}, metrics, context)
        line, metric = written(capfd)
        assert (line["function_arn"], line["cold_start"]) == (context.invoked_function_arn, "ColdStart" in metrics)
        assert (line["level"], line.get("version"), metric["version"]) == (level, version.get("version"), version.get("version", "none"))
        assert {name: metric[name] for name in metrics} == metrics
        assert [each["Name"] for each in metric["_aws"]["CloudWatchMetrics"][0]["Metrics"]] == list(metrics)


def timeless(lines: str) -> list[Any]:
    return [json.loads(line) for line in re.sub(r'"Timestamp":\d+', '"Timestamp":0', STAMP.sub("", lines)).splitlines()]


def test_the_second_of_a_line_is_written_anew_when_it_has_passed(capfd, monkeypatch):
    watched = observer()
    for now in (1795204860.25, 1795204860.999, 1795204861.0):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        watched.log("INFO", "request", location="handler")

    stamps = [line["timestamp"].partition(":")[2] for line in written(capfd)]
    assert stamps == ["01:00,250+0000", "01:00,999+0000", "01:01,000+0000"]
