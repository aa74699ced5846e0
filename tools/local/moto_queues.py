"""Queues as the pollers see them: a batch of messages, in the order in which fair queues hand them out."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

from moto.sqs.exceptions import ReceiptHandleIsInvalid
from moto.sqs.models import Message, Queue, SQSBackend, sqs_backends

from tools.local.assembly import ACCOUNT, REGION

__all__ = ["be_fair", "delete", "receive", "send", "visibility_timeout"]

_visible: Any = vars(Queue)["messages"].fget


def be_fair() -> None:
    """Teaches it to this process; once more changes nothing.

    SQS hands out messages of quiet groups before those of a group with a large share of what is in flight, without saying where that
    begins. Here a message's place is how many of its group are in flight or before it; equal ones in the order in which they were sent.
    """
    Queue.messages = property(_fair)  # type: ignore[method-assign, assignment]


def receive(arn: str, count: int) -> list[Message]:
    """At most `count` visible messages, now invisible for the queue's own time; those over its maxReceiveCount go to its DLQ."""
    return _backend().receive_message(_queue_name(arn), count, 0, visibility_timeout(arn), ["All"])


def delete(arn: str, receipt_handle: str) -> None:
    """Of a message that is no longer there nothing is said."""
    with suppress(ReceiptHandleIsInvalid):
        _backend().delete_message(_queue_name(arn), receipt_handle)


def send(arn: str, body: str, *, group: str | None = None, attributes: dict[str, str] | None = None) -> None:
    """`attributes` are strings. Raises what moto's SQS raises: there is no such queue, or the message is too long."""
    values = {name: {"DataType": "String", "StringValue": value} for name, value in (attributes or {}).items()}
    _backend().send_message(_queue_name(arn), body, message_attributes=values, group_id=group)


def visibility_timeout(arn: str) -> int:
    """Seconds, as the template set them."""
    return int(_backend().get_queue(_queue_name(arn)).visibility_timeout)  # type: ignore[attr-defined]


def _queue_name(arn: str) -> str:
    return arn.rpartition(":")[2]


def _backend() -> SQSBackend:
    return sqs_backends[ACCOUNT][REGION]


def _fair(queue: Queue) -> list[Message]:
    visible: list[Message] = _visible(queue)
    if queue.fifo_queue or not any(message.group_id for message in visible):
        return visible
    places = Counter(message.group_id for message in queue._messages if message.group_id and not message.visible)
    order = {}
    for message in visible:
        if message.group_id:
            places[message.group_id] += 1
        order[message.id] = places[message.group_id] if message.group_id else 1
    return sorted(visible, key=lambda message: order[message.id])
