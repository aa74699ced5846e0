"""Long work: queues of jobs and what runs them; everything here can be deleted once the queues are empty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from models.config import ModelConfig

from .acknowledgements import acknowledge
from .batch_functions import BatchFunction
from .data_sets import DataSets
from .optional_stack import OptionalStack
from .queues import WINDOW_SECONDS, JobQueue
from .settings import DeploymentSettings
from .store import Store

__all__ = ["Batch"]


class Batch(OptionalStack):
    """Two queues of jobs, one function that takes from both, and what runs data sets; empty without a model on Lambda."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        store: Store,
        models: Sequence[ModelConfig],
        **kwargs: Any,
    ) -> None:
        models = [model for model in models if model.target == "lambda"]
        super().__init__(scope, construct_id, description=f"Jobs and data sets of {settings.name}", empty=not models, **kwargs)
        self.add_stack_dependency(store)
        if not models:
            return
        common: dict[str, Any] = {"models": models, "store": store, "settings": settings}
        self._jobs(**common)
        machine = DataSets(self, "DataSets", **common).machine
        CfnOutput(self, "DataSetMachine", value=machine.state_machine_arn, description="Runs data sets, for modelctl batch")

    def _jobs(self, *, settings: DeploymentSettings, store: Store, **common: Any) -> None:
        seconds = settings.job_timeout
        worker = BatchFunction(
            self,
            "Jobs",
            command="functions.batch.jobs.handler",
            description="jobs: runs what waits in the queues",
            timeout=seconds,
            settings=settings,
            store=store,
            **common,
        )
        # By which another stack lets it read objects that it shall predict on.
        ssm.StringParameter(self, "JobRole", parameter_name=settings.job_role_parameter, string_value=worker.role.role_name)
        store.grant_work(worker.role)
        store.grant_events(worker.role)
        high = JobQueue(self, "High", priority="high", seconds=seconds, settings=settings)
        low = JobQueue(self, "Low", priority="low", seconds=seconds, settings=settings)
        arns = [each.queue.queue_arn for each in (high, low)]
        worker.role.allow(["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"], arns)
        for each, most in ((high, settings.high_concurrency), (low, settings.low_concurrency)):
            self._poll(worker, each, size=settings.job_batch_size, most=most)

    def _poll(self, worker: BatchFunction, queue: JobQueue, *, size: int, most: int) -> None:
        name = queue.priority.title()
        mapping = lambda_.EventSourceMapping(
            self,
            f"{name}Jobs",
            target=worker.target,
            event_source_arn=queue.queue.queue_arn,
            batch_size=size,
            max_batching_window=Duration.seconds(WINDOW_SECONDS[queue.priority]),
            max_concurrency=most,
            report_batch_item_failures=True,
        )
        acknowledge(
            mapping,
            "Serverless-LambdaEventSourceMappingDestination",
            "Of a queue it can have none: what is tried too often goes to the queue's own dead-letter queue.",
        )
        CfnOutput(self, f"{name}QueueUrl", value=queue.queue.queue_url, description=f"Jobs of {queue.priority} priority")
        CfnOutput(self, f"{name}DeadQueueUrl", value=queue.dead.queue_url, description="Those tried too often, for modelctl dlq")
