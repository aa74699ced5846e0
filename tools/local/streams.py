"""Polls a Kinesis or DynamoDB stream as Lambda does: each shard by itself and in its order, and nothing passes a batch that failed."""

from __future__ import annotations

import base64
import json
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moto.dynamodb.exceptions import ResourceNotFoundException
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.table import StreamShard
from moto.kinesis.exceptions import ResourceNotFoundError
from moto.kinesis.models import Shard, kinesis_backends

from tools.local import moto_queues
from tools.local.assembly import ACCOUNT, REGION
from tools.local.environments import MAX_REQUEST, Answer
from tools.local.failures import failed_items
from tools.local.poller import PAUSE, Poller, matching
from tools.local.sources import Source

__all__ = ["StreamPoller"]

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
_THROTTLED_SECONDS = 3600


@dataclass(frozen=True)
class _Record:
    sequence: str
    arrived: float
    """Seconds of the epoch."""
    event: dict[str, Any]
    """As the function gets it."""
    document: dict[str, Any]
    """As filters see it."""


_Reader = Callable[[int, int], list[_Record]]
"""Records of a shard: from a position on, and how many."""


class StreamPoller(Poller):
    """Of one mapping; shards that are added later are found. ParallelizationFactor and tumbling windows are not modelled."""

    gone = (ResourceNotFoundError, ResourceNotFoundException)

    def __init__(self, source: Source, invoke: Callable[[bytes, str], Answer]) -> None:
        super().__init__(source, invoke)
        self._shards = _kinesis if source.service == "kinesis" else _dynamodb
        self._latest = source.starting_position == "LATEST"

    def start(self) -> None:
        """What is in the stream by now is before LATEST."""
        self._positions = {shard: len(read(0, sys.maxsize)) if self._latest else 0 for shard, read in self._shards(self.source.arn).items()}
        super().start()

    def poll(self) -> None:
        known: set[str] = set()
        while not self.stopping.is_set():
            for shard in self._shards(self.source.arn).keys() - known:
                known.add(shard)
                self.begin(self._poll_shard, shard)
            self.stopping.wait(PAUSE)

    def _poll_shard(self, shard: str) -> None:
        position = self._positions.get(shard, 0)
        while not self.stopping.is_set():
            records = self._gather(shard, position)
            position += len(records)
            taken = [record for record in records if matching(self.source.patterns, record.document)]
            for batch in _fitting(taken):
                self._process(shard, batch, tried=0)
            if not records:
                self.stopping.wait(PAUSE)

    def _gather(self, shard: str, position: int) -> list[_Record]:
        """The next batch, for which it waits as long as the mapping's window is open once there is something."""
        ends = 0.0
        while True:
            records = self._shards(self.source.arn)[shard](position, self.source.batch_size)
            ends = ends or (time.monotonic() + self.source.window if records else 0.0)
            full = len(records) == self.source.batch_size
            if not records or full or time.monotonic() >= ends or self.stopping.wait(PAUSE):
                return records

    def _process(self, shard: str, records: Sequence[_Record], *, tried: int) -> None:
        """Until all of them have succeeded or were given up; a batch that is cut in two keeps count of its tries."""
        wait = _FIRST_WAIT
        while records and not self.stopping.is_set():
            if self._too_old(records):
                return self._give_up(shard, records, "RecordAgeExceeded", tried)
            answer = self.invoke([record.event for record in records], seconds=_THROTTLED_SECONDS)
            if answer is None:
                return None
            rest = self._rest(records, answer)
            if rest is None:
                return None
            records = rest
            if self.source.bisect and len(records) > 1:
                half = len(records) // 2
                self._process(shard, records[:half], tried=tried)
                return self._process(shard, records[half:], tried=tried)
            tried += 1
            if 0 <= self.source.retries < tried:
                return self._give_up(shard, records, "RetryAttemptsExhausted", tried)
            self.stopping.wait(wait)
            wait = min(2 * wait, _LONGEST_WAIT)
        return None

    def _rest(self, records: Sequence[_Record], answer: Answer) -> Sequence[_Record] | None:
        """What is to be tried again: from the first that failed; None where all succeeded."""
        if answer.failed:
            return records
        sequences = [record.sequence for record in records]
        failed = failed_items(answer.payload, sequences) if self.source.partial else set()
        return records[min(map(sequences.index, failed)) :] if failed else None

    def _too_old(self, records: Sequence[_Record]) -> bool:
        return 0 <= self.source.max_age < time.time() - records[0].arrived

    def _give_up(self, shard: str, records: Sequence[_Record], condition: str, tried: int) -> None:
        if self.source.on_failure:
            moto_queues.send(self.source.on_failure, json.dumps(_told(self.source, shard, records, condition, tried)))


def _fitting(records: Sequence[_Record]) -> list[list[_Record]]:
    """Batches that a payload takes."""
    batches: list[list[_Record]] = []
    left = 0
    for record in records:
        size = len(json.dumps(record.event)) + 2
        if size > left:
            batches.append([])
            left = MAX_REQUEST - 1024
        batches[-1].append(record)
        left -= size
    return batches


def _told(source: Source, shard: str, records: Sequence[_Record], condition: str, tried: int) -> dict[str, Any]:
    """As https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-errors.html shows it; the records themselves stay in the stream."""
    kind = "KinesisBatchInfo" if source.service == "kinesis" else "DDBStreamBatchInfo"
    return {
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{source.function}",
            "condition": condition,
            "approximateInvokeCount": tried,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": _iso(time.time()),
        kind: {
            "shardId": shard,
            "startSequenceNumber": records[0].sequence,
            "endSequenceNumber": records[-1].sequence,
            "approximateArrivalOfFirstRecord": _iso(records[0].arrived),
            "approximateArrivalOfLastRecord": _iso(records[-1].arrived),
            "batchSize": len(records),
            "streamArn": source.arn,
        },
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _kinesis(arn: str) -> dict[str, _Reader]:
    """By the shard's id."""
    stream = kinesis_backends[ACCOUNT][REGION].describe_stream(stream_arn=arn, stream_name=None)
    return {shard_id: _kinesis_reader(arn, shard_id, shard) for shard_id, shard in list(stream.shards.items())}


def _kinesis_reader(arn: str, shard_id: str, shard: Shard) -> _Reader:
    return lambda position, count: [_kinesis_record(arn, shard_id, record) for record in list(shard.records.values())[position:][:count]]


def _kinesis_record(arn: str, shard_id: str, record: Any) -> _Record:
    data = {
        "kinesisSchemaVersion": "1.0",
        "partitionKey": record.partition_key,
        "sequenceNumber": str(record.sequence_number),
        "data": record.data,
        "approximateArrivalTimestamp": record.created_at,
    }
    event = {
        "kinesis": data,
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard_id}:{record.sequence_number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": f"arn:aws:iam::{ACCOUNT}:role/local",
        "awsRegion": REGION,
        "eventSourceARN": arn,
    }
    return _Record(str(record.sequence_number), record.created_at, event, {**data, "data": _decoded(record.data)})


def _decoded(data: str) -> Any:
    try:
        return json.loads(base64.b64decode(data))
    except ValueError:
        return data


def _dynamodb(arn: str) -> dict[str, _Reader]:
    """Moto has one shard a table."""
    table = dynamodb_backends[ACCOUNT][REGION].get_table(arn.split("/")[1])
    shard = table.stream_shard
    return {} if shard is None else {shard.id: _dynamodb_reader(arn, shard)}


def _dynamodb_reader(arn: str, shard: StreamShard) -> _Reader:
    return lambda position, count: [_dynamodb_record(arn, item.record) for item in shard.items[position:][:count]]


def _dynamodb_record(arn: str, record: dict[str, Any]) -> _Record:
    created = record["dynamodb"]["ApproximateCreationDateTime"]
    arrived = created.replace(tzinfo=UTC).timestamp() if isinstance(created, datetime) else float(created)
    event = {**record, "dynamodb": {**record["dynamodb"], "ApproximateCreationDateTime": int(arrived)}, "eventSourceARN": arn}
    return _Record(record["dynamodb"]["SequenceNumber"], arrived, event, event)
