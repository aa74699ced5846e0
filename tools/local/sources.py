"""The event source mappings of a template, with what CloudFormation resolved: moto would serve them too, one message at a time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from moto.awslambda.models import EventSourceMapping
from moto.core.common_models import CloudFormationModel

from tools.local.assembly import Stack
from tools.local.errors import LocalError
from tools.local.functions import function_id

__all__ = ["AsyncConfig", "Source", "async_configs", "record_sources", "sources"]

_POLLERS = 5
"""Batches at a time where the template says nothing; AWS begins with as many and adds more."""
_resolved: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True, kw_only=True)
class Source:
    """One AWS::Lambda::EventSourceMapping."""

    function: str
    """Its name."""
    arn: str
    """Of the queue or the stream."""
    batch_size: int
    window: float
    """Seconds in which a batch may fill."""
    concurrency: int
    """Batches of a queue that are worked on at a time."""
    partial: bool
    """The function says which messages failed."""
    patterns: tuple[str, ...]
    """Event patterns (JSON), one of which an event must match; empty for all."""
    starting_position: str
    bisect: bool
    retries: int
    """Of a batch of a stream; negative for no end."""
    max_age: int
    """Seconds; negative for no end."""
    on_failure: str
    """ARN of the queue that is told of a batch given up; empty for none."""

    @property
    def service(self) -> str:
        """sqs, kinesis or dynamodb."""
        return self.arn.split(":")[2]

    @classmethod
    def read(cls, function: str, properties: Mapping[str, Any]) -> Self:
        """Raises `LocalError` for what CloudFormation refuses, or nobody here can serve."""
        arn = properties["EventSourceArn"]
        queue = ":sqs:" in arn
        batch_size, window = (
            int(properties.get("BatchSize", 10 if queue else 100)),
            float(properties.get("MaximumBatchingWindowInSeconds", 0)),
        )
        if queue and batch_size > 10 and window < 1:
            raise LocalError(
                f"the mapping of {arn} has BatchSize {batch_size}; over 10 it needs MaximumBatchingWindowInSeconds of 1 or more"
            )
        return cls(
            function=function,
            arn=arn,
            batch_size=batch_size,
            window=window,
            concurrency=int(properties.get("ScalingConfig", {}).get("MaximumConcurrency", _POLLERS)),
            partial="ReportBatchItemFailures" in properties.get("FunctionResponseTypes", []),
            patterns=tuple(each["Pattern"] for each in properties.get("FilterCriteria", {}).get("Filters", [])),
            starting_position=properties.get("StartingPosition", "TRIM_HORIZON"),
            bisect=_truth(properties.get("BisectBatchOnFunctionError", False)),
            retries=int(properties.get("MaximumRetryAttempts", -1)),
            max_age=int(properties.get("MaximumRecordAgeInSeconds", -1)),
            on_failure=_queue(properties, "OnFailure"),
        )


@dataclass(frozen=True, kw_only=True)
class AsyncConfig:
    """What becomes of a function's asynchronous invocations: AWS::Lambda::EventInvokeConfig and DeadLetterConfig."""

    retries: int = 2
    on_success: str = ""
    """ARN of a queue; empty for none."""
    on_failure: str = ""
    dead_letters: str = ""


def record_sources() -> None:
    """Teaches this process to keep them instead of serving them; once more changes nothing."""
    EventSourceMapping.create_from_cloudformation_json = classmethod(_create)  # type: ignore[assignment, method-assign]
    EventSourceMapping.update_from_cloudformation_json = classmethod(_update)  # type: ignore[assignment, method-assign]


def sources(stack: Stack, ids: Mapping[tuple[str, str], str]) -> Iterator[Source]:
    """Those that are enabled; `ids` are what CloudFormation called its resources. Raises `LocalError`."""
    for logical_id, properties in stack.resources("AWS::Lambda::EventSourceMapping"):
        found = _resolved[ids[stack.name, logical_id]]
        if _truth(found.get("Enabled", True)):
            yield Source.read(_function(stack, ids, properties["FunctionName"]), found)


def async_configs(stack: Stack, ids: Mapping[tuple[str, str], str]) -> dict[str, AsyncConfig]:
    """By the function's name. Raises `LocalError`."""
    configs = {}
    for logical_id, properties in stack.resources("AWS::Lambda::EventInvokeConfig"):
        found = _resolved[ids[stack.name, logical_id]]
        configs[_function(stack, ids, properties["FunctionName"])] = AsyncConfig(
            retries=int(found.get("MaximumRetryAttempts", 2)), on_success=_queue(found, "OnSuccess"), on_failure=_queue(found, "OnFailure")
        )
    return configs


class _Recorded(CloudFormationModel):
    """A resource that only its properties are needed of; as a type of its own, what moto's CloudFormation skips."""

    def __init__(self, physical_id: str) -> None:
        self.physical_resource_id = physical_id

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::Lambda::EventInvokeConfig"

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,  # noqa: ARG003 - moto's signature
        cloudformation_json: dict[str, Any],
        account_id: str,  # noqa: ARG003
        region_name: str,  # noqa: ARG003
        **_: Any,
    ) -> _Recorded:
        return cls.of(cloudformation_json)

    @classmethod
    def of(cls, cloudformation_json: dict[str, Any]) -> Self:
        """A new one, or what becomes of one that is updated."""
        recorded = cls(str(uuid.uuid4()))
        _resolved[recorded.physical_resource_id] = cloudformation_json["Properties"]
        return recorded


def _create(_: type, resource_name: str, cloudformation_json: dict[str, Any], *__: Any, **___: Any) -> _Recorded:  # noqa: ARG001
    return _Recorded.of(cloudformation_json)


def _update(_: type, /, *, cloudformation_json: dict[str, Any], **__: Any) -> _Recorded:
    return _Recorded.of(cloudformation_json)


def _function(stack: Stack, ids: Mapping[tuple[str, str], str], reference: object) -> str:
    """A name that is no reference is one of a function elsewhere: its name, or its ARN with a version or an alias."""
    if not isinstance(reference, str):
        return ids[stack.name, function_id(stack, reference)]
    return reference.split(":function:")[-1].partition(":")[0]


def _queue(properties: Mapping[str, Any], outcome: str) -> str:
    arn = str(properties.get("DestinationConfig", {}).get(outcome, {}).get("Destination", ""))
    if arn and ":sqs:" not in arn:
        raise LocalError(f"{outcome} is to go to {arn}; the local runner has queues for that only")
    return arn


def _truth(value: object) -> bool:
    return str(value).lower() == "true"
