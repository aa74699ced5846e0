"""Runs of data sets on a deployment: started, followed, and told how they ended."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from botocore.exceptions import ClientError

from tools.modelctl.deployment import Deployment
from tools.modelctl.errors import ModelctlError, UsageFailed

__all__ = ["DataSetFailed", "DataSets", "Progress", "Started", "address"]

_POLL_SECONDS = 1.0


class DataSetFailed(ModelctlError):
    """A run that ended without its predictions."""

    def __init__(self, run: str, reason: str, resume: str | None) -> None:
        """`resume` is the command that goes on with it; None where nothing was begun."""
        kept = f". What was scored is kept; when that is put right, this scores the rest: {resume}" if resume else ""
        super().__init__(f"the run {run} failed: {reason}{kept}")


@dataclass(frozen=True)
class Started:
    """An execution of a run."""

    run: str
    execution: str
    """ARN."""


@dataclass(frozen=True)
class Progress:
    """How far an execution is; `total` is 0 until its shards are known."""

    done: int
    total: int
    result: Mapping[str, Any]
    """What the run came to, once it has ended well; empty before that."""


def address(option: str, given: str, *, model: str) -> str:
    """`given`, which must be an address in S3. Raises `UsageFailed` that says what a path of this machine is to become."""
    if given.startswith("s3://") and given.removeprefix("s3://").partition("/")[0]:
        return given
    told = f"{option} {given} is no address in S3, which is all that a deployment can reach; expected s3://BUCKET/PATH"
    if option == "--input":
        told += (
            f". Run it on this machine: add --local. Or upload it; a deployment runs by itself what is put below in/{model}/ of its bucket "
            f"of data sets, the output DataBucket of its stack Store: aws s3 cp {given} s3://BUCKET/in/{model}/"
        )
    raise UsageFailed(told)


class DataSets:
    """The state machine of a deployment. Raises `UsageFailed` where there is none."""

    def __init__(
        self, deployment: Deployment, *, clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        if deployment.data_set_machine is None or deployment.data_bucket is None:
            command = "make run" if deployment.local else f"cdk deploy '{deployment.name}/*'"
            raise UsageFailed(f"{deployment.name} runs no data sets yet; run: {command}")
        self._bucket = deployment.data_bucket
        self._machine = deployment.data_set_machine
        self._option = deployment.option
        self._states, self._s3 = deployment.client("stepfunctions"), deployment.client("s3")
        self._clock, self._sleep = clock, sleep

    def start(
        self,
        model: str,
        *,
        input_uri: str,
        output_uri: str | None,
        columns: Mapping[str, str | Sequence[str]] | None = None,
        prefix: str = "",
    ) -> Started:
        """A new run; without `output_uri` its predictions go below `out/` of the deployment's own bucket."""
        run = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(self._clock()))}-{secrets.token_hex(4)}"
        output = output_uri or f"s3://{self._bucket}/out/{model}/{run}/"
        asked = {"run": run, "model": model, "input": input_uri, "output": output, "columns": columns or None, "prefix": prefix}
        return self._start(run, run, {name: value for name, value in asked.items() if value})

    def resume(self, run: str) -> Started:
        """Follows an execution of the run that is under way; where there is none, another one scores what is missing.

        Raises `UsageFailed` for a run that never was.
        """
        listing = self._states.get_paginator("list_executions").paginate(stateMachineArn=self._machine, statusFilter="RUNNING")
        for found in (each for page in listing for each in page["executions"]):
            if found["name"] == run or found["name"].startswith(f"{run}-resumed-"):
                return Started(run, found["executionArn"])
        first = self._claimed_by(run)
        if first is None:
            raise UsageFailed(f"there is no run {run!r} to go on with; `modelctl batch` without --resume starts one")
        if self._is_running(first):
            return Started(run, first)
        return self._start(run, f"{run}-resumed-{secrets.token_hex(4)}", {"resume": run})

    def follow(self, started: Started) -> Iterator[Progress]:
        """How far it is, once a second, until it has ended. Raises `DataSetFailed`."""
        while True:
            found = self._states.describe_execution(executionArn=started.execution)
            done, total = self._counts(started.execution)
            if found["status"] == "SUCCEEDED":
                yield Progress(total, total, orjson.loads(found["output"]))
                return
            if found["status"] != "RUNNING":
                reason = found.get("cause") or found.get("error") or f"its execution was {found['status'].lower().replace('_', ' ')}"
                resume = f"modelctl batch --resume {started.run}{self._option}" if self._claimed_by(started.run) else None
                raise DataSetFailed(started.run, reason, resume)
            yield Progress(done, total, {})
            self._sleep(_POLL_SECONDS)

    def _start(self, run: str, name: str, asked: Mapping[str, Any]) -> Started:
        answer = self._states.start_execution(stateMachineArn=self._machine, name=name, input=orjson.dumps(asked).decode())
        return Started(run, answer["executionArn"])

    def _claimed_by(self, run: str) -> str | None:
        """ARN of the execution that has the run: EventBridge names those of uploads. None where none has begun it."""
        try:
            body = self._s3.get_object(Bucket=self._bucket, Key=f"work/{run}/claim.json")["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return None
        return str(orjson.loads(body)["execution"])

    def _is_running(self, execution: str) -> bool:
        """Not one that Step Functions has forgotten, after 90 days."""
        try:
            return bool(self._states.describe_execution(executionArn=execution)["status"] == "RUNNING")
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
                raise
            return False

    def _counts(self, execution: str) -> tuple[int, int]:
        """Shards that are done, and all; none before the map has begun."""
        maps = self._states.list_map_runs(executionArn=execution)["mapRuns"]
        if not maps:
            return 0, 0
        counts = self._states.describe_map_run(mapRunArn=maps[0]["mapRunArn"])["itemCounts"]
        return int(counts["succeeded"]), int(counts["total"])
