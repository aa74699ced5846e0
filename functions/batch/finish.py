"""The last step of a data set: its manifest, and an event that tells what became of it, well or not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson

import scoring
from modelserve.events import Event, EventBus
from modelserve.s3 import S3Bucket
from modelserve.settings import BatchSettings, DataSetSettings

from .observability import Observer
from .runs import DataSetRefused, Request, Run, file_system, path_of, refusing

__all__ = ["DATA_SET_FAILED", "DATA_SET_SCORED", "Finisher", "handler"]

DATA_SET_SCORED, DATA_SET_FAILED = "Data Set Scored", "Data Set Failed"
_SHOWN = 3
_TIMED_OUT = ("Sandbox.Timedout", "States.Timeout")
_TOO_LONG = (
    "a shard took longer than data_set_timeout of the settings in stacks/settings.py; deploy more job_memory (with it come more cores) and "
    "resume the run, or a smaller data_set_shard_megabytes and start a new one, since a run keeps its shards. A row group of a Parquet "
    "file is never split: write the file with smaller ones"
)


class EventNotSent(Exception):
    """EventBridge took no event; the step is to be tried again."""


class Finisher:
    """Answers what the execution ends with."""

    def __init__(self, settings: BatchSettings, data: DataSetSettings, environ: Mapping[str, str]) -> None:
        self._data = data
        self._bucket = S3Bucket.from_environ(data.data_bucket, environ)
        self._environ = environ
        self._bus = EventBus.from_environ(settings.service, environ)
        self._observer = Observer(service=settings.service, namespace=settings.metrics_namespace, level=settings.log_level)
        self.handler = self._observer.logger.inject_lambda_context(log_event=False)(self.handle)

    def handle(self, event: dict[str, Any], context: Any = None) -> dict[str, Any]:  # noqa: ARG002 - Lambda's signature
        """`event` has the execution's ARN, and as `input` what it was started with, what was planned, and what failed if anything did."""
        told, execution = event["input"], event["execution"]
        return self._failed(told, execution) if "failure" in told else self._scored(told["plan"]["run"], execution)

    def _scored(self, run: str, execution: str) -> dict[str, Any]:
        with refusing(*self._data.buckets):
            pinned, plan = Run(self._bucket, run).kept()
            files, out = file_system(self._environ), path_of(pinned.request.output)
            manifest = scoring.finish(plan, files, out, out, started=scoring.begin(plan, files, out))
        detail = {
            **_about(pinned.request),
            "model_version": manifest.version,
            "rows": manifest.rows,
            "bad": manifest.bad,
            "batch_rows": manifest.batch_rows,
            "manifest": f"{pinned.request.output}manifest.json",
            "errors": manifest.errors and f"s3://{manifest.errors}",
            "execution": execution,
        }
        self._tell(DATA_SET_SCORED, detail)
        self._observer.count({"DataSets": 1}, model=manifest.model, version=manifest.version)
        return detail

    def _failed(self, told: Mapping[str, Any], execution: str) -> dict[str, str]:
        """With the text of what failed first, which of a map is that of its shards."""
        request = self._request(told)
        failures = self._failures(told, execution)
        reasons = Counter(_reason(each) for each in failures)
        first = list(reasons)[:_SHOWN]
        more = len(failures) - sum(reasons[each] for each in first)
        shown = "; ".join([*first, *([f"and {more} more shards failed"] if more else [])])
        error = _name(failures[0])
        claimed = request is not None and Run(self._bucket, request.run).is_claimed()
        resume = {"resume": f"modelctl batch --resume {request.run}"} if request and claimed else {}
        detail = {**(_about(request) if request else {"input": _uploaded(told)}), "error": shown, **resume, "execution": execution}
        self._tell(DATA_SET_FAILED, detail)
        self._observer.log("ERROR", "data set failed", location="finish", error=error, reason=shown, run=request and request.run)
        self._observer.count({"DataSetFailures": 1}, model=request.model if request else "none", version="none", by_service=True)
        return {"error": error, "cause": shown}

    def _failures(self, told: Mapping[str, Any], execution: str) -> list[Mapping[str, Any]]:
        """Those of the shards, or the step's own."""
        noted = Run(self._bucket, told["plan"]["run"]).why(execution) if "plan" in told else ()
        return [{**each, "Cause": _TOO_LONG} if each.get("Error") in _TIMED_OUT else each for each in noted] or [told["failure"]]

    def _request(self, told: Mapping[str, Any]) -> Request | None:
        """None where the request is what failed."""
        try:
            if run := told.get("resume"):
                return Run(self._bucket, run).claimed()
            return Request.read(told, data_bucket=self._data.data_bucket, buckets=self._data.data_set_buckets)
        except DataSetRefused:
            return None

    def _tell(self, kind: str, detail: Mapping[str, Any]) -> None:
        if self._bus.put([Event(kind=kind, detail={name: value for name, value in detail.items() if value is not None})]):
            raise EventNotSent(f"EventBridge did not take the event {kind!r} of {detail.get('run')}")


def _about(request: Request) -> dict[str, Any]:
    return {"run": request.run, "model_name": request.model, "input": request.input, "output": request.output}


def _uploaded(told: Mapping[str, Any]) -> str | None:
    upload = told.get("detail")
    return f"s3://{upload['bucket']['name']}/{upload['object']['key']}" if upload else told.get("input")


def _name(failure: Mapping[str, Any]) -> str:
    """Of an error; those of Step Functions itself are kept for it."""
    name = str(failure.get("Error", ""))
    return "DataSetFailed" if not name or name.startswith("States.") else name


def _reason(failure: Mapping[str, Any]) -> str:
    """Of a function that raised, its message; of anything else what Step Functions says."""
    cause = str(failure.get("Cause", ""))
    try:
        return str(orjson.loads(cause)["errorMessage"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return cause or str(failure.get("Error", "Step Functions gave no reason"))


_finisher = Finisher(BatchSettings.from_env(os.environ), DataSetSettings.from_env(os.environ), os.environ)
handler = _finisher.handler
