"""Where jobs wait, and where those wait that were tried too often."""

from __future__ import annotations

from typing import Literal

from aws_cdk import Aws, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from .acknowledgements import acknowledge
from .alarms import DeadLettersAlarm, LateJobsAlarm
from .settings import DeploymentSettings

__all__ = ["WINDOW_SECONDS", "JobQueue"]

WINDOW_SECONDS = {"high": 0, "low": 1}
"""How long a batch may wait to be filled, by priority."""
_TRIES_OF_A_FUNCTION = 6
"""Source: AWS Lambda Developer Guide, "Configuring a queue to use with Lambda"."""
_LATE = {"high": 2, "low": 20}
"""Visibility timeouts after which a job is late, by priority: more than the one that a retry takes."""


class JobQueue(Construct):
    """The queue of one priority and its dead-letter queue: a standard one, which is fair between the groups of its messages.

    Under SQS's own keys: a message names a job and holds none, and who sends or receives needs no permission for a key.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, priority: Literal["high", "low"], seconds: int, settings: DeploymentSettings
    ) -> None:
        """`seconds` is the timeout of the function that takes its messages."""
        super().__init__(scope, construct_id)
        self.priority = priority
        name = settings.queue_name(priority)
        visibility = Duration.seconds(_TRIES_OF_A_FUNCTION * seconds + WINDOW_SECONDS[priority])
        self.dead = self._dead_letters(f"{name}-dead", name)
        self.queue = sqs.Queue(
            self,
            "Queue",
            queue_name=name,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            visibility_timeout=visibility,
            retention_period=Duration.days(4),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead, max_receive_count=settings.job_attempts),
        )
        self.queue.add_to_resource_policy(_from_rules(self.queue, settings))
        late = _LATE[priority] * int(visibility.to_seconds())
        LateJobsAlarm(self, "LateJobs", settings=settings, queue=self.queue, priority=priority, seconds=late)
        DeadLettersAlarm(self, "DeadLetters", settings=settings, queue=self.dead, priority=priority)

    def _dead_letters(self, name: str, source: str) -> sqs.Queue:
        """Keeps messages for longer than the queue: their age goes on from there. By name, since each of the two names the other."""
        source_arn = Stack.of(self).format_arn(service="sqs", resource=source)
        dead = sqs.Queue(
            self,
            "Dead",
            queue_name=name,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
            redrive_allow_policy=sqs.RedriveAllowPolicy(
                redrive_permission=sqs.RedrivePermission.BY_QUEUE,
                source_queues=[sqs.Queue.from_queue_arn(self, "Source", source_arn)],
            ),
        )
        acknowledge(dead, "Serverless-SQSRedrivePolicy", "It is a dead-letter queue itself; an alarm rings while a message is in it.")
        return dead


def _from_rules(queue: sqs.Queue, settings: DeploymentSettings) -> iam.PolicyStatement:
    """Lets EventBridge send what matches a rule of the deployment's name: a queue has one policy, which no other stack can add to."""
    own = settings.rule_name("*")
    # The second are those of a bus that is not the default one.
    rules = [Stack.of(queue).format_arn(service="events", resource="rule", resource_name=each) for each in (own, f"*/{own}")]
    return iam.PolicyStatement(
        sid="RulesOfThisDeployment",
        principals=[iam.ServicePrincipal("events.amazonaws.com")],
        actions=["sqs:SendMessage"],
        resources=[queue.queue_arn],
        conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}, "ArnLike": {"aws:SourceArn": rules}},
    )
