"""Polls a queue as Lambda does for an event source mapping: batches, several at a time, and only what succeeded is deleted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from moto.sqs.exceptions import QueueDoesNotExist
from moto.sqs.models import Message

from tools.local import moto_queues
from tools.local.assembly import REGION
from tools.local.environments import MAX_REQUEST, Answer
from tools.local.failures import failed_items
from tools.local.poller import PAUSE, Poller, matching
from tools.local.sources import Source

__all__ = ["QueuePoller"]

_ENVELOPE = 1024
"""Bytes of a payload that are no records."""


class QueuePoller(Poller):
    """Of one mapping. Visibility and redrive are the queue's own: whatever isn't deleted comes back, until it goes to the DLQ."""

    gone = (QueueDoesNotExist,)

    def __init__(self, source: Source, invoke: Callable[[bytes, str], Answer]) -> None:
        super().__init__(source, invoke)
        self._slots = threading.Semaphore(source.concurrency)
        self._held: list[dict[str, Any]] = []
        """Received, but too large for the batch before."""

    def poll(self) -> None:
        while not self.stopping.is_set():
            if not self._slots.acquire(timeout=PAUSE):
                continue
            if batch := self._gather():
                self.begin(self._work, batch)
            else:
                self._slots.release()
                self.stopping.wait(PAUSE)

    def _gather(self) -> list[dict[str, Any]]:
        """The records of one invocation; waits for more of them as long as the mapping's window is open."""
        records, self._held = self._held, []
        ends = 0.0
        while len(records) < self.source.batch_size and not self.stopping.is_set():
            records += self._receive(self.source.batch_size - len(records))
            ends = ends or (time.monotonic() + self.source.window)
            if not records or time.monotonic() >= ends or self.stopping.wait(PAUSE):
                break
        fits = _fitting(records)
        self._held = records[fits:]
        return records[:fits]

    def _receive(self, count: int) -> list[dict[str, Any]]:
        """What the mapping's filters leave out is deleted, as Lambda does."""
        records = [_record(self.source.arn, message) for message in moto_queues.receive(self.source.arn, count)]
        taken = [record for record in records if matching(self.source.patterns, _filtered(record))]
        for record in records:
            if record not in taken:
                moto_queues.delete(self.source.arn, record["receiptHandle"])
        return taken

    def _work(self, records: Sequence[dict[str, Any]]) -> None:
        try:
            answer = self.invoke(records, seconds=moto_queues.visibility_timeout(self.source.arn))
            if answer is None or answer.failed:
                return
            failed = failed_items(answer.payload, [record["messageId"] for record in records]) if self.source.partial else set()
            for record in records:
                if record["messageId"] not in failed:
                    moto_queues.delete(self.source.arn, record["receiptHandle"])
        finally:
            self._slots.release()


def _fitting(records: Sequence[dict[str, Any]]) -> int:
    """How many of them a payload takes."""
    left = MAX_REQUEST - _ENVELOPE
    for number, record in enumerate(records):
        left -= len(json.dumps(record)) + 2
        if left < 0:
            return max(number, 1)
    return len(records)


def _record(arn: str, message: Message) -> dict[str, Any]:
    """As https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html shows it."""
    attributes = {
        "ApproximateReceiveCount": message.approximate_receive_count,
        "SentTimestamp": message.sent_timestamp,
        "SenderId": message.sender_id,
        "ApproximateFirstReceiveTimestamp": message.approximate_first_receive_timestamp,
        "MessageGroupId": message.group_id,
        "MessageDeduplicationId": message.deduplication_id,
        "SequenceNumber": message.sequence_number,
    }
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": {name: str(value) for name, value in attributes.items() if value is not None},
        "messageAttributes": {name: _attribute(value) for name, value in message.message_attributes.items()},
        "md5OfBody": message.body_md5,
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": REGION,
    }


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    text = {"stringValue": value["StringValue"]} if "StringValue" in value else {"binaryValue": value.get("BinaryValue")}
    return {**text, "stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}


def _filtered(record: dict[str, Any]) -> dict[str, Any]:
    """What the filters see: the body as JSON where it is."""
    try:
        body = json.loads(record["body"])
    except ValueError:
        body = record["body"]
    return {**record, "body": body}
