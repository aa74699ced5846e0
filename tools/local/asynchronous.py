"""Asynchronous invocations (InvocationType Event, EventBridge): accepted at once, tried again after an error, then told to a queue."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from tools.local import moto_queues
from tools.local.assembly import ACCOUNT, REGION
from tools.local.environments import Answer, TooManyRequests
from tools.local.sources import AsyncConfig

__all__ = ["RETRY_SECONDS", "AsyncInvocations"]

RETRY_SECONDS = (1.0, 2.0)
"""Before the first and the second retry; Lambda takes minutes."""
_THROTTLED_SECONDS = 0.2
_JOIN_SECONDS = 10
_log = logging.getLogger(__name__)


class AsyncInvocations:
    """Of one deployment's functions; each in a thread until it has succeeded or was given up."""

    def __init__(
        self, functions: Mapping[str, Callable[[bytes, str], Answer]], configs: Mapping[str, AsyncConfig], *, pauses: tuple[float, ...]
    ) -> None:
        """By the functions' names; `pauses` are the seconds before each retry."""
        self._functions = functions
        self._configs = configs
        self._pauses = pauses
        self._stopping = threading.Event()
        self._threads: set[threading.Thread] = set()

    def submit(self, name: str, payload: bytes) -> None:
        """Returns at once."""

        def run() -> None:
            try:
                self._work(name, payload)
            except Exception:
                # Functions and queues end under it.
                if not self._stopping.is_set():
                    raise
            finally:
                self._threads.discard(thread)

        thread = threading.Thread(target=run, name=f"{name} asynchronously", daemon=True)
        self._threads.add(thread)
        thread.start()

    def stop(self) -> None:
        """What has not succeeded yet is not tried again."""
        self._stopping.set()

    def join(self) -> None:
        for thread in list(self._threads):
            thread.join(_JOIN_SECONDS)

    def _work(self, name: str, payload: bytes) -> None:
        config = self._configs.get(name, AsyncConfig())
        attempts = 0
        while True:
            answer = self._invoke(name, payload)
            attempts += 1
            if answer is None or not answer.failed or attempts > config.retries:
                break
            if self._stopping.wait(self._pauses[min(attempts, len(self._pauses)) - 1]):
                return
        if answer is not None:
            _tell(config, name, payload, answer, attempts)

    def _invoke(self, name: str, payload: bytes) -> Answer | None:
        """Throttling counts for no attempt. None where it is stopped."""
        while not self._stopping.is_set():
            try:
                return self._functions[name](payload, "")
            except TooManyRequests:
                self._stopping.wait(_THROTTLED_SECONDS)
        return None


def _tell(config: AsyncConfig, name: str, payload: bytes, answer: Answer, attempts: int) -> None:
    destination = config.on_failure if answer.failed else config.on_success
    if destination:
        moto_queues.send(destination, json.dumps(_record(name, payload, answer, attempts)))
    if answer.failed and config.dead_letters:
        attributes = {"RequestID": str(uuid.uuid4()), "ErrorCode": "200", "ErrorMessage": _message(answer)[:1024]}
        moto_queues.send(config.dead_letters, payload.decode(), attributes=attributes)
    if answer.failed and not destination and not config.dead_letters:
        _log.warning("function %s failed %d times and nobody is told: %s", name, attempts, _message(answer))


def _record(name: str, payload: bytes, answer: Answer, attempts: int) -> dict[str, Any]:
    """As https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html shows it."""
    response: dict[str, Any] = {"statusCode": 200, "executedVersion": "$LATEST"}
    return {
        "version": "1.0",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}:$LATEST",
            "condition": "RetriesExhausted" if answer.failed else "Success",
            "approximateInvokeCount": attempts,
        },
        "requestPayload": json.loads(payload),
        "responseContext": response | ({"functionError": "Unhandled"} if answer.failed else {}),
        "responsePayload": json.loads(answer.payload or b"null"),
    }


def _message(answer: Answer) -> str:
    return str(json.loads(answer.payload).get("errorMessage", ""))
