"""Messages that were tried as often as may be: looked at without taking them away, and sent to their queue again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from tools.modelctl.errors import UsageFailed

if TYPE_CHECKING:
    from tools.modelctl.deployment import Deployment

__all__ = ["DeadLetter", "DeadLetters", "errors_of", "of"]

_AT_ONCE = 10
"""What SQS hands over, and takes, in one call."""
_KEYS_AT_ONCE = 100
"""What DynamoDB looks up in one call."""
_WAIT_SECONDS = 1
"""Without waiting SQS asks only some of its servers."""
_HELD_SECONDS = 60
"""How long a message that is looked at is out of everybody else's sight, unless it is given back before."""


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """One message of a dead-letter queue."""

    priority: str
    message: str
    """What SQS calls it."""
    id: str
    """Of the job, or of the event that asked for a prediction; empty where the body can't be read."""
    model: str
    client: str
    sent: datetime
    """When it was asked for, or redriven last."""
    body: str
    group: str
    receipt: str

    @classmethod
    def read(cls, message: dict[str, Any], priority: str) -> DeadLetter:
        """Whatever its body holds: it may be here because nobody could read it."""
        attributes = message.get("Attributes", {})
        try:
            document = orjson.loads(message["Body"])
        except orjson.JSONDecodeError:
            document = None
        said = {name: value for name, value in document.items() if isinstance(value, str)} if isinstance(document, dict) else {}
        return cls(
            priority=priority,
            message=message["MessageId"],
            id=said.get("job") or said.get("id", ""),
            model=said.get("model", ""),
            client=said.get("client", "-"),
            sent=datetime.fromtimestamp(int(attributes.get("SentTimestamp", 0)) / 1000, UTC),
            body=message["Body"],
            group=attributes.get("MessageGroupId", ""),
            receipt=message["ReceiptHandle"],
        )


class DeadLetters:
    """The dead-letter queue of one queue of jobs."""

    def __init__(self, sqs: Any, *, priority: str, url: str, queue_url: str) -> None:
        """`queue_url` is where messages came from, and go back to."""
        self.priority = priority
        self._sqs = sqs
        self._url = url
        self._queue_url = queue_url

    def count(self) -> int:
        """About how many there are, those that somebody looks at included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)

    def look(self, most: int) -> list[DeadLetter]:
        """Up to `most` of them; all stay where they are."""
        found: list[DeadLetter] = []
        with self._held() as pages:
            for page in pages:
                found += page
                if len(found) >= most:
                    break
        return found[:most]

    def redrive(self, wanted: Callable[[DeadLetter], bool], progress: Callable[[int], None] = lambda _: None) -> int:
        """Sends those that are wanted to their queue, for as many attempts as a new one has; how many went.

        A message is deleted here once it is there: interrupted between the two it is in both, and a job runs once all the same.
        """
        moved = 0
        with self._held() as pages:
            for page in pages:
                letters = [each for each in page if wanted(each)]
                refused = self._batch("send_message_batch", self._queue_url, letters, _message)
                sent = [each for number, each in enumerate(letters) if str(number) not in refused]
                self._batch("delete_message_batch", self._url, sent, lambda each: {"ReceiptHandle": each.receipt})
                moved += len(sent)
                progress(len(page))
        return moved

    @contextmanager
    def _held(self) -> Iterator[Iterator[list[DeadLetter]]]:
        """All there are, in pages, each once; what is still there in the end is given back."""
        found: dict[str, DeadLetter] = {}

        def pages() -> Iterator[list[DeadLetter]]:
            while new := [each for each in self._receive() if each.message not in found]:  # those of the first pages come back in time
                found.update((each.message, each) for each in new)
                yield new

        try:
            yield pages()
        finally:
            letters = list(found.values())
            for start in range(0, len(letters), _AT_ONCE):
                page = letters[start : start + _AT_ONCE]
                self._batch("change_message_visibility_batch", self._url, page, _given_back)

    def _receive(self) -> list[DeadLetter]:
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=_AT_ONCE,
            VisibilityTimeout=_HELD_SECONDS,
            WaitTimeSeconds=_WAIT_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp", "MessageGroupId"],
        )
        return [DeadLetter.read(message, self.priority) for message in answer.get("Messages", [])]

    def _batch(self, call: str, url: str, letters: list[DeadLetter], entry: Callable[[DeadLetter], dict[str, Any]]) -> set[str]:
        """The numbers of those that were refused."""
        if not letters:
            return set()
        entries = [{"Id": str(number), **entry(each)} for number, each in enumerate(letters)]
        return {each["Id"] for each in getattr(self._sqs, call)(QueueUrl=url, Entries=entries).get("Failed", [])}


def of(deployment: Deployment) -> list[DeadLetters]:
    """The dead-letter queues of a deployment's jobs, the most urgent first. Raises `UsageFailed` before there are any."""
    if not deployment.queues:
        command = "make run" if deployment.local else f"cdk deploy '{deployment.name}/*'"
        raise UsageFailed(f"{deployment.name} has no queues of jobs yet; run: {command}")
    sqs = deployment.client("sqs")
    return [DeadLetters(sqs, priority=name, url=dead, queue_url=url) for name, (url, dead) in sorted(deployment.queues.items())]


def errors_of(deployment: Deployment, letters: list[DeadLetter]) -> dict[str, str]:
    """What their jobs failed with, by id; nothing of those that are no client's, or were deleted."""
    dynamodb, table = deployment.client("dynamodb"), str(deployment.job_table)
    keys = [{"id": {"S": each}} for each in sorted({letter.id for letter in letters if letter.id})]
    found: dict[str, str] = {}
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        wanted: dict[str, Any] = {table: {"Keys": keys[start : start + _KEYS_AT_ONCE]}}
        while wanted:
            answer = dynamodb.batch_get_item(RequestItems=wanted)
            items = answer["Responses"].get(table, [])
            found |= {item["id"]["S"]: item["error"]["S"] for item in items if "error" in item}
            wanted = answer.get("UnprocessedKeys", {})
    return found


def _message(letter: DeadLetter) -> dict[str, Any]:
    return {"MessageBody": letter.body} | ({"MessageGroupId": letter.group} if letter.group else {})


def _given_back(letter: DeadLetter) -> dict[str, Any]:
    return {"ReceiptHandle": letter.receipt, "VisibilityTimeout": 0}
