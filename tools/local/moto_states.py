"""State machines that run: moto 5.2.5 executes them where it is told to, and leaves a Map's failures and some names out."""

from __future__ import annotations

import functools
import logging
import re
import threading
import time
import uuid
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import boto3
import moto.stepfunctions.models
from moto.core.config import default_user_config
from moto.stepfunctions.parser.api import HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.distributed_iteration_component import (
    DistributedIterationComponent,
)
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils import boto_client
from moto.stepfunctions.parser.models import StepFunctionsParserBackend, stepfunctions_parser_backends

from tools.local.assembly import ACCOUNT, REGION

__all__ = ["execute_machines", "stop_executions"]

_PERCENTAGE = re.compile(r'("ToleratedFailurePercentage"\s*:\s*)(\d+)(?![\d.])')
_STOP_SECONDS = 5
_lock = threading.Lock()
_clients: dict[tuple[str, str], Any] = {}
_endpoints: list[str] = []
_start = StepFunctionsParserBackend.start_execution
_parse = AmazonStateLanguageParser.parse
_map_run = DistributedIterationComponent._map_run


def execute_machines(endpoint_url: str) -> None:
    """Teaches it to this process; the tasks of all machines go to the server that was named last, as all have the same state."""
    _endpoints.append(endpoint_url)
    logging.getLogger("moto.stepfunctions").setLevel(logging.CRITICAL)  # it prints each failure's whole tree
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    moto.stepfunctions.models.stepfunctions_backends = stepfunctions_parser_backends  # type: ignore[assignment]
    boto_client.boto3 = SimpleNamespace(client=_client)  # type: ignore[assignment, attr-defined]
    StepFunctionsParserBackend.start_execution = _start_named  # type: ignore[method-assign]
    AmazonStateLanguageParser.parse = staticmethod(_parse_whole)  # type: ignore[method-assign]
    DistributedIterationComponent._map_run = _map_run_within_tolerance  # type: ignore[method-assign]


def stop_executions(arns: Collection[str], endpoint_url: str) -> None:
    """Those of some machines, when their server ends; returns once none of them runs, or after some seconds."""
    machines = [each for each in stepfunctions_parser_backends[ACCOUNT][REGION].state_machines if each.arn in arns]
    running = [execution for machine in machines for execution in machine.executions if execution.status == "RUNNING"]
    for execution in running:
        execution.stop(stop_date=None, error=None, cause=None)
    ends = time.monotonic() + _STOP_SECONDS
    while any(execution.status == "RUNNING" for execution in running) and time.monotonic() < ends:
        time.sleep(0.01)
    _endpoints.remove(endpoint_url)


def _client(*, service_name: str, **options: Any) -> Any:
    """One of a service for all tasks: making one is neither cheap nor safe in several threads."""
    with _lock:
        key = (service_name, _endpoints[-1])
        if key not in _clients:
            _clients[key] = boto3.client(service_name, **{**options, "endpoint_url": _endpoints[-1]})  # type: ignore[call-overload]
        return _clients[key]


@functools.wraps(_start)
def _start_named(self: Any, state_machine_arn: str, name: str | None = None, *args: Any, **kwargs: Any) -> Any:
    return _start(self, state_machine_arn, name or str(uuid.uuid4()), *args, **kwargs)


def _parse_whole(definition: str) -> Any:
    """Its grammar knows that percentage with a fraction only."""
    return _parse(_PERCENTAGE.sub(r"\1\2.0", definition))


def _map_run_within_tolerance(self: Any, env: Any, eval_input: Any) -> None:
    """Without a tolerance the first item that failed is one too many."""
    _map_run(self, env, eval_input)
    counter = eval_input.map_run_record.item_counter
    failed, total = counter.failed.get() + counter.timed_out.get(), counter.total.get()
    count, percentage = eval_input.tolerated_failure_count, eval_input.tolerated_failure_percentage
    over_count = failed > count if count or not percentage else False
    over_percentage = failed * 100 > percentage * total if percentage else False
    if over_count or over_percentage:
        raise _exceeded(env, f"The specified tolerated failure threshold was exceeded: {failed} of {total} items failed")


def _exceeded(env: Any, cause: str) -> FailureEventException:
    error = StatesErrorName(typ=StatesErrorNameType.StatesExceedToleratedFailureThreshold)
    details: Any = {"executionFailedEventDetails": {"error": error.error_name, "cause": cause}}
    return FailureEventException(
        FailureEvent(
            env=env,
            error_name=error,
            event_type=HistoryEventType.ExecutionFailed,
            event_details=details,
        )
    )
