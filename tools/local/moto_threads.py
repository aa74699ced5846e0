"""What moto 5.2.5 leaves open to threads: its server answers each request in one of its own, and checks and writes without a lock."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import StreamShard
from moto.kinesis.models import Shard
from moto.sqs.models import Queue, SQSBackend

__all__ = ["one_at_a_time"]

_METHODS: dict[type, tuple[str, ...]] = {
    # A condition holds while the write is made.
    DynamoDBBackend: ("put_item", "update_item", "delete_item", "transact_write_items"),
    # Both number what they add by what there is.
    StreamShard: ("add",),
    Shard: ("put_record",),
}
_QUEUE = threading.RLock()
"""A deletion writes the list of messages anew: one that is sent meanwhile would be lost, one that is received twice be doubled."""


def one_at_a_time() -> None:
    """Teaches it to this process; once more changes nothing."""
    for kind, names in _METHODS.items():
        _lock(kind, names, threading.RLock())
    _lock(Queue, ("add_message", "delete_message"), _QUEUE)
    _lock(SQSBackend, ("change_message_visibility", "purge_queue"), _QUEUE)
    if not hasattr(SQSBackend.receive_message, "__wrapped__"):
        SQSBackend.receive_message = _receiving(SQSBackend.receive_message)  # type: ignore[method-assign]


def _lock(kind: type, names: tuple[str, ...], lock: Any) -> None:
    for name in names:
        method = getattr(kind, name)
        if not hasattr(method, "__wrapped__"):
            setattr(kind, name, _locked(method, lock))


def _locked(method: Callable[..., Any], lock: Any) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return method(*args, **kwargs)

    return call


def _receiving(method: Callable[..., Any]) -> Callable[..., Any]:
    """Waits without the lock, which whoever sends needs."""

    @functools.wraps(method)
    def receive(
        self: SQSBackend, queue_name: str, count: int, wait_seconds_timeout: int, visibility_timeout: int, *args: Any, **kwargs: Any
    ) -> Any:
        def now() -> Any:
            with _QUEUE:
                return method(self, queue_name, count, 0, visibility_timeout, *args, **kwargs)

        messages = now()
        if not messages and wait_seconds_timeout:
            self.get_queue(queue_name).wait_for_messages(wait_seconds_timeout)
            messages = now()
        return messages

    return receive
