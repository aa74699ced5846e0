"""Works off the queues of jobs: a batch of messages in, and out those that are to be delivered again."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyItemAlreadyExistsError, IdempotencyItemNotFoundError
from botocore.config import Config

from modelserve.aws import JsonService
from modelserve.events import EventBus
from modelserve.jobs import JobTable
from modelserve.memory import hold
from modelserve.pool import Pool
from modelserve.s3 import S3Bucket
from modelserve.settings import BatchSettings
from modelserve.work import Places
from modelserve.worker import Interruption, Message, Worker

from .observability import Observer

__all__ = ["App", "Records"]

_DAY = 86_400
_BOTO = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 3})


class Records:
    """Powertools' idempotency records, in the table of jobs; satisfies `worker.Once`.

    Its decorator wraps one call for one key; here several keys are worked on in one call, so that each is begun and ended by itself.
    """

    def __init__(self, table: str, *, days: int) -> None:
        """What is done is known for `days`."""
        self._records = DynamoDBPersistenceLayer(table_name=table, boto_config=_BOTO)
        config = IdempotencyConfig(event_key_jmespath="key", expires_after_seconds=days * _DAY, hash_function="sha256")
        self._records.configure(config, key_prefix="work")

    def begin(self, key: str, *, seconds: float, alone: bool = False) -> Literal["ours", "busy", "done"]:
        """Whether `key` is ours for `seconds`, to be run `alone` or not, somebody else's now, or done."""
        try:
            self._records.save_inprogress({"key": key}, remaining_time_in_millis=int(1000 * seconds))
        except IdempotencyItemAlreadyExistsError as error:
            known = error.old_data_record
            return "done" if known is not None and known.status == "COMPLETED" else "busy"
        if alone:  # a record of its own: of what has begun, Powertools keeps nothing but until when
            with suppress(IdempotencyItemAlreadyExistsError):
                self._records.save_inprogress({"key": _alone(key)}, remaining_time_in_millis=int(1000 * seconds))
        return "ours"

    def interrupted(self, key: str) -> Interruption | None:
        """The last attempt, where it never ended."""
        until = self._until(key)
        if not 0 < until < time.time():
            return None
        return Interruption(until=until, alone=self._until(_alone(key)) >= until)

    def _until(self, key: str) -> float:
        """Until when it is worked on, or was; 0 where it ended, or never began."""
        try:
            known = self._records.get_record({"key": key})
        except IdempotencyItemNotFoundError:
            return 0.0
        return float(known.in_progress_expiry_timestamp or 0) / 1000 if known is not None and known.status == "INPROGRESS" else 0.0

    def done(self, key: str) -> None:
        """It ended well, for good."""
        self._records.save_success({"key": key}, result={})

    def reopen(self, key: str) -> None:
        """What was done may be begun anew; what somebody has begun anew already stays theirs."""
        with suppress(IdempotencyItemNotFoundError, self._records.client.exceptions.ConditionalCheckFailedException):
            known = self._records.get_record({"key": key})
            assert known is not None  # a key is never empty
            self._records.client.delete_item(
                TableName=self._records.table_name,
                Key={"id": {"S": known.idempotency_key}},
                ConditionExpression="#status = :done",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={":done": {"S": "COMPLETED"}},
            )

    def forget(self, key: str) -> None:
        """It may be begun anew, by anybody."""
        self._records.delete_record({"key": key}, exception=LookupError())


class App:
    """All that one execution environment of the worker holds."""

    def __init__(self, settings: BatchSettings, environ: Mapping[str, str]) -> None:
        self._ends = 0.0
        observer = Observer(service=settings.service, namespace=settings.metrics_namespace, level=settings.log_level)
        places = Places(
            JobTable(JsonService.from_environ("dynamodb", environ, remaining=self._remaining), settings.job_table),
            settings.job_bucket,
            EventBus.from_environ(settings.service, environ, remaining=self._remaining),
            opened=lambda bucket: S3Bucket.from_environ(bucket, environ, remaining=self._remaining),
            most=settings.max_body_bytes,
            most_json=settings.max_json_bytes,
            clock=time.time,
        )
        pool = Pool(settings, environ, observer, remaining=self._remaining)
        once = Records(settings.job_table, days=settings.job_days)
        self._worker = Worker(pool, places, once, observer, attempts=settings.job_attempts)
        # Whatever the environment says of events: one holds requests.
        self.handler = observer.logger.inject_lambda_context(log_event=False)(self.handle)

    def handle(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """Tells Lambda which messages the queue is to keep; the others are done, and deleted."""
        seconds = context.get_remaining_time_in_millis() / 1000
        self._ends = time.monotonic() + seconds
        failed = self._worker.work(map(_message, event["Records"]), seconds=seconds, request_id=context.aws_request_id)
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

    def _remaining(self) -> float:
        return self._ends - time.monotonic()


def _alone(key: str) -> str:
    return f"alone {key}"


def _message(record: Mapping[str, Any]) -> Message:
    attributes = record["attributes"]
    return Message(
        id=record["messageId"],
        body=record["body"],
        receives=int(attributes["ApproximateReceiveCount"]),
        sent=int(attributes["SentTimestamp"]) / 1000,
    )


def _started(environ: Mapping[str, str]) -> App:
    return App(BatchSettings.from_env(environ), environ)


hold(int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")))
handler = _started(os.environ).handler
