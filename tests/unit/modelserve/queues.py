"""A table and the queues of jobs in memory."""

from __future__ import annotations

import json
from typing import Any

from modelserve.aws import JsonService
from modelserve.jobs import Job, JobTable


class Table(JobTable):
    """Jobs in memory."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.reads = 0

    def create(self, job: Job) -> Job:
        return self.jobs.setdefault(job.id, job)

    def read(self, job: str, *, now: float) -> Job | None:
        self.reads += 1
        return self.jobs.get(job)


class Queues(JsonService):
    """What each queue was told; `down` is raised instead."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any, str]] = []
        self.down: Exception | None = None

    def call(self, target: str, document: Any) -> dict[str, Any]:
        assert target == "AmazonSQS.SendMessage"
        if self.down:
            raise self.down
        self.told.append((document["QueueUrl"], json.loads(document["MessageBody"]), document["MessageGroupId"]))
        return {}
