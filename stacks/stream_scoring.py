"""A stream of Kinesis or of a DynamoDB table whose records a model scores as they come."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aws_cdk import Duration
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_lambda_event_sources import SqsDlq
from constructs import Construct

from modelserve.settings import STREAM_FILTER_PATTERN, StreamSettings

from .batch_functions import BatchFunction
from .settings import DeploymentSettings
from .store import Store
from .ways_in import queued, undelivered

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = ["NoStreamError", "StreamScoring"]

_OF_DYNAMODB = ["DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"]
_OF_KINESIS = ["DescribeStream", "DescribeStreamSummary", "GetRecords", "GetShardIterator", "ListShards"]


class NoStreamError(ValueError):
    """A table that tells nobody what changes."""

    def __init__(self, path: str) -> None:
        super().__init__(f"the table {path} has no stream with new images; give it stream=dynamodb.StreamViewType.NEW_IMAGE")


class StreamScoring(Construct):
    """A function that scores each record, and tells each prediction, or those worth telling, by an event "Prediction Made".

    A record that the model can't take is told by "Prediction Failed"; what could not be scored for another reason is tried again, in
    ever smaller batches, and at last its place in the stream is put aside in `undelivered`.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        store: Store,
        model: str,
        source: kinesis.IStream | dynamodb.ITable,
        columns: Mapping[str, str | Sequence[str]] | None = None,
        tell: str = "",
        batch_size: int = 100,
        parallel: int = 1,
        attempts: int = 5,
    ) -> None:
        """`columns` names the field of a record, or several, that an input of the model is made from, where it has another name.

        `tell` is a condition such as `fraud >= 0.8`: a label and its probability, or an output of one number. `batch_size` counts
        records of one invocation, `parallel` batches of one shard at once, 1 to 10, `attempts` how often a batch is tried again.
        Raises `HeavyModelError`, `ModelConfigError`, `NoStreamError`, and `ValueError` for a condition that is none.
        """
        super().__init__(scope, construct_id)
        if tell and not re.fullmatch(STREAM_FILTER_PATTERN, tell):
            raise ValueError(f"tell is {tell!r}; expected a label or an output, >= or <=, and a number, such as 'fraud >= 0.8'")
        self.undelivered = undelivered(self, settings)
        self._function = BatchFunction(
            self,
            "Function",
            command="functions.batch.streams.handler",
            description=f"streams: {model} scores what comes",
            timeout=settings.job_timeout,
            models=[queued(model)],
            store=store,
            settings=settings,
            environment=StreamSettings(columns=json.dumps(dict(columns or {})), tell=tell).to_env(),
        )
        arn = self._grant_read(source)
        self._function.role.allow(["sqs:SendMessage"], self.undelivered.queue_arn)
        store.grant_events(self._function.role)
        lambda_.EventSourceMapping(
            self,
            "Mapping",
            target=self._function.target,
            event_source_arn=arn,
            starting_position=lambda_.StartingPosition.LATEST,
            batch_size=batch_size,
            max_batching_window=Duration.seconds(1),
            parallelization_factor=parallel,
            bisect_batch_on_error=True,
            report_batch_item_failures=True,
            retry_attempts=attempts,
            on_failure=SqsDlq(self.undelivered),
            filters=[_inserted()] if _is_table(source) else None,
        )

    def _grant_read(self, source: kinesis.IStream | dynamodb.ITable) -> str:
        """Lets the function read this stream and no other; its ARN."""
        role = self._function.role
        if _is_table(source):
            if source.table_stream_arn is None:
                raise NoStreamError(source.node.path)
            role.allow([f"dynamodb:{action}" for action in _OF_DYNAMODB], source.table_stream_arn)
            return source.table_stream_arn
        role.allow([f"kinesis:{action}" for action in _OF_KINESIS], source.stream_arn)
        if source.encryption_key:
            role.allow(["kms:Decrypt"], source.encryption_key.key_arn)
        return source.stream_arn


def _is_table(source: kinesis.IStream | dynamodb.ITable) -> TypeIs[dynamodb.ITable]:
    """By what it has: jsii's interfaces don't know their implementations."""
    return hasattr(source, "table_stream_arn")


def _inserted() -> dict[str, Any]:
    """New items only: what writes a prediction back into its item would otherwise be scored without end."""
    return dict(lambda_.FilterCriteria.filter({"eventName": lambda_.FilterRule.is_equal("INSERT")}))
