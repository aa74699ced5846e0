"""Data sets: a plan of shards, a Distributed Map that walks them, and an end that tells what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import ArnFormat, Duration, RemovalPolicy, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from models.config import ModelConfig
from modelserve.settings import DataSetSettings

from .batch_functions import BatchFunction
from .roles import MachineRole, NarrowRole
from .settings import DeploymentSettings
from .store import Store
from .ways_in import undelivered

__all__ = ["DataSets"]

_REFUSED = "DataSetRefused"
"""What functions/batch raises for that which only a person can put right."""
_FULL = sfn.JitterType.FULL


class DataSets(Construct):
    """A state machine that `modelctl batch` starts, and every upload below `in/` of the bucket of data sets."""

    def __init__(
        self, scope: Construct, construct_id: str, *, store: Store, models: Sequence[ModelConfig], settings: DeploymentSettings
    ) -> None:
        super().__init__(scope, construct_id)
        self._store, self._settings = store, settings
        environment = DataSetSettings(
            data_bucket=store.data_bucket_name(self),
            data_set_buckets=settings.data_set_buckets,
            data_set_shard_megabytes=settings.data_set_shard_megabytes,
        ).to_env()
        common: dict[str, Any] = {"store": store, "models": models, "settings": settings, "environment": environment}
        plan = self._function("Plan", "plans the shards of a data set", **common)
        # A part lies in /tmp before it goes to S3: narrow rows grow by six with ten probabilities, and a row group may be any size.
        scratch = max(4096, 64 * settings.data_set_shard_megabytes)
        shard = self._function("Shard", "runs one shard of a data set", scratch=scratch, **common)
        finish = self._function("Finish", "ends a data set, well or not", **common)
        functions = [plan, shard, finish]
        for function in functions:
            store.grant_data_sets(function.role)
        store.grant_events(finish.role)
        steps = _Steps(self, "Steps", store=store, settings=settings, plan=plan.target, shard=shard.target, finish=finish.target)
        role = self._machine_role([function.target for function in functions])
        self.machine = sfn.StateMachine(
            self,
            "Machine",
            state_machine_name=self._name,
            definition_body=sfn.DefinitionBody.from_chainable(steps.all()),
            state_machine_type=sfn.StateMachineType.STANDARD,
            encryption_configuration=sfn.AwsOwnedEncryptionConfiguration(),
            role=role.without_policy_updates(),
            tracing_enabled=True,
            # Without execution data: a cause may quote a data set.
            logs=sfn.LogOptions(destination=self._logs(), level=sfn.LogLevel.ALL, include_execution_data=False),
        )
        self.machine.node.add_dependency(role)
        self.machine.node.try_remove_child("DistributedMapPolicy")  # which the role has no need of, and does not take
        self._on_upload()

    @property
    def _name(self) -> str:
        """Fixed, so that the machine's role can name the machine."""
        return f"onnx-{self._settings.name}-data-sets"

    def _function(self, name: str, description: str, **common: Any) -> BatchFunction:
        return BatchFunction(
            self,
            name,
            command=f"functions.batch.{name.lower()}.handler",
            description=f"data sets: {description}",
            timeout=self._settings.data_set_timeout,
            **common,
        )

    def _machine_role(self, functions: Sequence[lambda_.IFunction]) -> MachineRole:
        role = MachineRole(self, "Role", policy_name="DataSets")
        role.allow(["lambda:InvokeFunction"], [function.function_arn for function in functions])
        # Source: AWS Step Functions Developer Guide, "IAM policies for using Distributed Map states".
        role.allow(["states:StartExecution"], self._arn("stateMachine", self._name))
        role.allow(
            ["states:DescribeExecution", "states:StopExecution"],
            self._arn("execution", f"{self._name}:*"),
            wildcard="Executions of this machine; each shard's has a name of its own.",
        )
        self._store.grant_shards(role)
        return role

    def _logs(self) -> logs.LogGroup:
        return logs.LogGroup(self, "Logs", retention=self._settings.log_retention, removal_policy=RemovalPolicy.DESTROY)

    def _on_upload(self) -> None:
        """An event that can't be delivered waits in a queue; the machine itself sees to it that one delivered twice is run once."""
        dead_letters = undelivered(self, self._settings)
        starter = NarrowRole(self, "Starter", assumed_by=iam.ServicePrincipal("events.amazonaws.com"), policy_name="Start")
        starter.allow(["states:StartExecution"], self._arn("stateMachine", self._name))
        events.Rule(
            self,
            "Upload",
            description=f"{self._settings.name}: a data set put below in/ is run",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={"bucket": {"name": [self._store.data_bucket_name(self)]}, "object": {"key": [{"prefix": "in/"}]}},
            ),
            targets=[
                targets.SfnStateMachine(
                    self.machine,
                    role=starter.without_policy_updates(),
                    dead_letter_queue=dead_letters,
                    retry_attempts=185,
                    max_event_age=Duration.hours(24),
                )
            ],
        )

    def _arn(self, resource: str, name: str) -> str:
        """Of Step Functions."""
        return Stack.of(self).format_arn(service="states", resource=resource, resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME)


class _Steps(Construct):
    """The states. The input is kept as it came; `$.plan` is what the plan answered, `$.failure` what went wrong."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        store: Store,
        settings: DeploymentSettings,
        plan: lambda_.IFunction,
        shard: lambda_.IFunction,
        finish: lambda_.IFunction,
    ) -> None:
        super().__init__(scope, construct_id)
        self._settings = settings
        self._data = s3.Bucket.from_bucket_name(self, "Data", store.data_bucket_name(self))
        self._plan, self._shard, self._finish = plan, shard, finish

    def all(self) -> sfn.IChainable:
        """Plan, map, finish; and from each of them to the failure's end."""
        failed = self._failed()
        told = {"input": sfn.JsonPath.entire_payload, "execution": sfn.JsonPath.execution_id}
        plan = self._invoke("Plan", self._plan, told, result_path="$.plan")
        score = self._map()
        finish = self._invoke("Finish", self._finish, told)
        for state in (plan, score, finish):
            state.add_catch(failed, errors=["States.ALL"], result_path="$.failure")
        nothing = sfn.Succeed(self, "Nothing to do", comment="The marker of a folder, or an upload that another run has")
        taken = sfn.Condition.is_present("$.plan.shards")
        decide = sfn.Choice(self, "Is there something to do?").when(taken, score).otherwise(nothing)
        score.next(finish)
        return plan.next(decide)

    def _map(self) -> sfn.DistributedMap:
        """Each shard in an execution of its own; the first that fails ends them all.

        Standard ones: an Express execution ends after five minutes, and a shard may take fifteen.
        """
        walk = sfn.DistributedMap(
            self,
            "Score",
            map_execution_type=sfn.StateMachineType.STANDARD,
            item_reader=sfn.S3JsonItemReader(bucket=self._data, key=sfn.JsonPath.string_at("$.plan.shards")),
            item_selector={
                "run": sfn.JsonPath.string_at("$.plan.run"),
                "failures": sfn.JsonPath.string_at("$.plan.failures"),
                "number": sfn.JsonPath.number_at("$$.Map.Item.Index"),
                "shard": sfn.JsonPath.string_at("$$.Map.Item.Value"),
            },
            max_concurrency=self._settings.data_set_concurrency,
            result_path=sfn.JsonPath.DISCARD,
        )
        told = {each: sfn.JsonPath.string_at(f"$.{each}") for each in ("run", "shard")}
        # Its report lies in the bucket: ten thousand of them would be more than the 256 KB that a state may put out.
        # Its time is always up after the same rows; only an answer that got lost ends as States.Timeout.
        shard = self._invoke("Score shard", self._shard, told, final=[_REFUSED, "Sandbox.Timedout"], result_selector={})
        shard.add_catch(self._note(), errors=["States.ALL"], result_path="$.failure")
        return walk.item_processor(shard)

    def _note(self) -> sfn.IChainable:
        """Why a shard failed is kept in the bucket: of a map that failed, Step Functions tells only that it did."""
        key = sfn.JsonPath.format("{}/{}.json", sfn.JsonPath.string_at("$.failures"), sfn.JsonPath.string_at("$.number"))
        why = sfn.JsonPath.json_to_string(sfn.JsonPath.object_at("$.failure"))
        note = tasks.CallAwsService(
            self,
            "Note why",
            service="s3",
            action="putObject",
            iam_resources=["*"],  # unused: the machine's role says it all
            parameters={"Bucket": self._data.bucket_name, "Key": key, "Body": why},
            result_path=sfn.JsonPath.DISCARD,
        )
        return note.next(sfn.Fail(self, "Shard failed", error="ShardFailed", cause_path="$.failure.Cause"))

    def _failed(self) -> sfn.IChainable:
        told = {"input": sfn.JsonPath.entire_payload, "execution": sfn.JsonPath.execution_id}
        report = self._invoke("Report the failure", self._finish, told)
        return report.next(sfn.Fail(self, "Failed", error_path="$.error", cause_path="$.cause"))

    def _invoke(
        self, name: str, function: lambda_.IFunction, payload: dict[str, Any], *, final: Sequence[str] = (_REFUSED,), **properties: Any
    ) -> tasks.LambdaInvoke:
        """A function's answer is the state's result. What passes is tried again; what a person must put right, `final`, is not."""
        state = tasks.LambdaInvoke(
            self,
            name,
            lambda_function=function,
            payload=sfn.TaskInput.from_object(payload),
            payload_response_only=True,
            retry_on_service_exceptions=False,
            # An invocation whose answer gets lost would otherwise be waited for without end.
            task_timeout=sfn.Timeout.duration(Duration.seconds(self._settings.data_set_timeout + 60)),
            **properties,
        )
        state.add_retry(errors=list(final), max_attempts=0)
        throttled = ["Lambda.TooManyRequestsException"]
        state.add_retry(
            errors=throttled,
            interval=Duration.seconds(2),
            backoff_rate=2,
            max_delay=Duration.minutes(2),
            max_attempts=200,  # hours: others may have the account's concurrency, and what waits is not lost
            jitter_strategy=_FULL,
        )
        state.add_retry(errors=["States.ALL"], interval=Duration.seconds(2), backoff_rate=3, max_attempts=3, jitter_strategy=_FULL)
        return state
