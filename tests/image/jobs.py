"""What the jobs worker's container is given, and what it must tell: requests of a service, and an event for each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.image.docker import ImageError
from tools.local.models import Published

__all__ = ["events", "heard", "listening"]

_TOLD = "image-test-told"


def events(published: Sequence[Published], *, batch: int) -> dict[str, Any]:
    """What Lambda hands the worker: each model's example `batch` times, as a rule of EventBridge sends it to the queue."""
    bodies = [
        json.dumps(
            {
                "id": hashlib.sha256(f"{model.name}{number}".encode()).hexdigest()[:32],
                "model": model.name,
                "request": json.loads(model.example.read_bytes()),
            }
        )
        for model in published
        for number in range(batch)
    ]
    return {"Records": [_record(number, body) for number, body in enumerate(bodies)]}


def _record(number: int, body: str) -> dict[str, Any]:
    attributes = {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": "1795000000000",
        "SenderId": "S",
        "ApproximateFirstReceiveTimestamp": "1795000000000",
    }
    return {
        "messageId": f"message-{number}",
        "receiptHandle": f"receipt-{number}",
        "body": body,
        "attributes": attributes,
        "messageAttributes": {},
        "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:onnx-dev-jobs-low",
        "awsRegion": "us-east-1",
    }


@contextmanager
def listening(cloud: Any, source: str) -> Iterator[str]:
    """The URL of a queue that a rule sends every event of `source` to."""
    sqs, rules = cloud.client("sqs"), cloud.client("events")
    url = sqs.create_queue(QueueName=_TOLD)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rules.put_rule(Name=_TOLD, EventPattern=json.dumps({"source": [source]}))
    rules.put_targets(Rule=_TOLD, Targets=[{"Id": "queue", "Arn": arn}])
    yield url


def heard(cloud: Any, url: str, expected: int) -> dict[str, list[dict[str, Any]]]:
    """What the events tell of each model. Raises `ImageError` for any other number of them, or another kind."""
    sqs, found = cloud.client("sqs"), []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            found.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    others = {each["detail-type"] for each in found} - {"Prediction Made"}
    if len(found) != expected or others:
        raise ImageError(f"the jobs worker told of {len(found)} predictions, expected {expected}; other kinds: {sorted(others)}")
    by_model: dict[str, list[dict[str, Any]]] = {}
    for each in found:
        by_model.setdefault(each["detail"]["model_name"], []).append(each["detail"])
    return by_model
