"""All that differs between deployments, in one place; what differs between models is in each model.toml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from aws_cdk.aws_logs import RetentionDays

from models.config import ModelConfig

__all__ = ["APPLICATION", "DEV", "PROD", "DeploymentSettings", "EndpointNameError", "FunctionNameError", "Plan"]

APPLICATION = "ServerlessOnnx"


_ENDPOINT_NAME = re.compile(r"[a-z0-9](-*[a-z0-9])*")
_TAKEN = (
    ("high_concurrency", 2, 1000, "Lambda"),
    ("low_concurrency", 2, 1000, "Lambda"),
    ("job_memory", 128, 10_240, "Lambda"),
    ("job_timeout", 15, 900, "Lambda, of which a batch keeps some seconds to begin and to tell of its jobs,"),
    ("data_set_timeout", 1, 900, "Lambda"),
    ("job_batch_size", 1, 10, "SQS, where no batching window fills more,"),
    ("job_attempts", 3, 1000, "who tells a job that can't be done from its neighbours"),
    ("data_set_concurrency", 1, 10_000, "a Distributed Map"),
    ("data_set_shard_megabytes", 1, 1024, "a shard"),
)
"""Settings with the least and the most that a service takes of them."""


class EndpointNameError(ValueError):
    """A model's endpoint would have a name that SageMaker refuses."""

    def __init__(self, model: str, name: str) -> None:
        super().__init__(
            f"the endpoint of {model} would be named {name}, which SageMaker refuses; a name has at most 63 characters and ends in a "
            f"letter or a digit: give the folder models/{model} another name"
        )


class FunctionNameError(ValueError):
    """A model's function would have a name that Lambda refuses."""

    def __init__(self, model: str, name: str) -> None:
        super().__init__(
            f"the function of {model} would be named {name}, and a name has at most 64 characters: give the deployment a shorter name"
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A tier of clients; API Gateway keeps its limits as best it can, so they protect a bill, not a secret."""

    name: str
    requests_per_second: float
    """Of one client; beyond it that client gets 429."""
    burst: int
    """Requests of one client at once before `requests_per_second` counts."""
    requests_per_day: int | None = None
    """Beyond it a client gets 429 until midnight UTC; None counts without end."""
    jobs: Literal["high", "low"] = "low"
    """The queue of its clients' jobs; those of a high one may ask for the low one, not the other way round."""


@dataclass(frozen=True, kw_only=True)
class DeploymentSettings:
    """One deployment: a model store and an API that serves from it."""

    name: str
    """Of the deployment, of its API stage, and in front of its stacks' names."""
    production: bool = False
    """Refuses to delete the stacks, and keeps logs for longer."""
    existing_bucket: str | None = None
    """A versioned bucket to use as model store instead of making one; its own policies stay as they are."""
    existing_key_arn: str | None = None
    """The KMS key that encrypts `existing_bucket`; None when S3's own keys do."""
    existing_client_table: str | None = None
    """A table of clients to use instead of making one, such as the one that an earlier stack left."""
    existing_signing_key_arn: str | None = None
    """The KMS key that signs manifests, where `signed_manifests` is on, instead of making one."""
    noncurrent_days: int = 90
    """How long a moved alias's former state and a deleted version can be brought back."""
    log_retention: RetentionDays = RetentionDays.ONE_MONTH
    """How long logs of the functions and the API are kept."""
    access_log_days: int = 90
    """How long access logs of the model store are kept."""
    requests_per_second: float = 100
    """Over all callers of the API; beyond it they get 429."""
    burst: int = 200
    """Requests at once before `requests_per_second` counts."""
    plans: tuple[Plan, ...] = (
        Plan(name="trial", requests_per_second=1, burst=5, requests_per_day=1_000),
        Plan(name="standard", requests_per_second=50, burst=100, requests_per_day=1_000_000),
        Plan(name="premium", requests_per_second=100, burst=200, jobs="high"),
    )
    """Tiers that `modelctl client create --plan` names; the deployment's own limit holds above them."""
    cors_origin: str = ""
    """The origin that browsers may call from, such as https://example.org; empty turns CORS off."""
    firewall: bool = False
    """AWS WAF in front of the API: rate by IP, IP reputation, common rules."""
    requests_per_ip: int = 30_000
    """In five minutes from one address, where `firewall` is on; beyond it that address gets 403. A client may have but one address:
    below 300 times the fastest plan, the firewall would refuse what the plan allows."""
    audit: bool = False
    """CloudTrail records who read and wrote what in the model store."""
    signed_manifests: bool = False
    """Publishing signs with a KMS key, and functions load nothing that it did not sign."""
    session_backend: Literal["native", "binding"] = "native"
    """What drives ONNX Runtime in the functions' images: its own library, or its Python binding, which brings numpy and starts slower."""
    alarm_topic_arn: str | None = None
    """The SNS topic that hears of alarms."""
    gpu: bool = False
    """Heavy models have endpoints, which cost while they run; off, their routes answer 503. `cdk deploy -c gpu=on` and `gpu=off` decide
    for one deploy."""
    gpu_instance_type: str = "ml.g4dn.xlarge"
    """Of the endpoint that realtime models share, and of an async one whose model.toml names no other."""
    gpu_min_instances: int = 1
    gpu_max_instances: int = 2
    """Of the endpoint that realtime models share."""
    gpu_requests_per_instance: float = 8
    """Requests of one model at once, in the mean over instances, beyond which the shared endpoint grows."""
    gpu_subnets: tuple[str, ...] = ()
    """Ids of subnets to put the endpoints' containers into; without them the containers reach no network at all."""
    gpu_security_groups: tuple[str, ...] = ()
    """Ids of the security groups of containers in `gpu_subnets`."""
    gpu_capture_percent: int = 0
    """Share of requests and answers of the shared endpoint that SageMaker keeps; 0 keeps none."""
    job_days: int = 7
    """How long jobs, uploads, and what SageMaker captured, are kept."""
    job_memory: int = 3008
    """MB of the functions that run jobs and shards of data sets; a new account allows no more."""
    job_timeout: int = 120
    """Seconds that one batch of jobs may take; a message is out of sight for six times as long."""
    job_batch_size: int = 10
    """Jobs that a function takes at a time; those for the same model run as one."""
    job_attempts: int = 5
    """How often a job is tried before its message waits in the dead-letter queue."""
    high_concurrency: int = 4
    """Batches of the high queue that run at once, 2 to 1,000; what the account has beyond both queues is left to the API, and a new
    account may have 10."""
    low_concurrency: int = 2
    """Batches of the low queue that run at once."""
    upload_megabytes: int = 256
    """Size of the largest request that a client may upload for a job."""
    data_set_concurrency: int = 4
    """Shards of one data set that run at once, 1 to 10,000."""
    data_set_timeout: int = 900
    """Seconds that planning a data set, or one shard of it, may take."""
    data_set_shard_megabytes: int = 64
    """MiB of a data set that one function scores, 1 to 1,024; fewer where that takes too long. A row group of Parquet is never split."""
    data_set_days: int = 30
    """How long data sets and their predictions are kept in the deployment's own bucket."""
    data_set_buckets: tuple[str, ...] = ()
    """Other buckets that `modelctl batch` may read data sets from and write predictions to, encrypted by S3's own keys or by the key of
    the model store: under another KMS key nothing can be read."""
    examples: bool = False
    """A stack with every door for other services, wired to the sample models; it costs nothing until something comes through one."""

    def __post_init__(self) -> None:
        """Raises `ValueError` for settings that don't fit each other."""
        if bool(self.gpu_subnets) != bool(self.gpu_security_groups):
            raise ValueError(f"gpu_subnets and gpu_security_groups of {self.name} go together; set both, or neither")
        if not 1 <= self.gpu_min_instances <= self.gpu_max_instances:
            raise ValueError(
                f"gpu_min_instances of {self.name} is {self.gpu_min_instances} and gpu_max_instances {self.gpu_max_instances}; "
                f"at least 1, and no more than the other: only an async model's endpoint can do without instances"
            )
        if not 0 <= self.gpu_capture_percent <= 100:
            raise ValueError(f"gpu_capture_percent of {self.name} is {self.gpu_capture_percent}; a percentage is from 0 to 100")
        fastest = max((plan.requests_per_second for plan in self.plans), default=0)
        if self.firewall and self.requests_per_ip < 300 * fastest:
            raise ValueError(
                f"requests_per_ip of {self.name} is {self.requests_per_ip:,}, and its fastest plan allows {300 * fastest:,.0f} "
                f"in five minutes; raise it, since a client may have but one address"
            )
        self._check_jobs()

    def _check_jobs(self) -> None:
        """Raises `ValueError` for what AWS takes only once it is deployed, or not at all."""
        for name, least, most, who in _TAKEN:
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} of {self.name} is {getattr(self, name):,}; {who} takes {least} to {most:,}")
        if not 1 <= self.upload_megabytes <= self.job_memory // 8:
            raise ValueError(
                f"upload_megabytes of {self.name} is {self.upload_megabytes}; with job_memory = {self.job_memory} it is from 1 to "
                f"{self.job_memory // 8}, so that a request and its answer fit the function"
            )

    @property
    def service(self) -> str:
        """What logs and metrics of this deployment's functions are filed under."""
        return f"serverless-onnx-{self.name}"

    def function_name(self, model: ModelConfig) -> str:
        """Of the Lambda function that answers for `model`, which others invoke by it.

        With another target it has another name, since CloudFormation makes the new function before it deletes the old one.
        Raises `FunctionNameError`.
        """
        name = f"onnx-{self.name}-{model.name}{'-gpu' if model.target == 'gpu' else ''}"
        if len(name) > 64:
            raise FunctionNameError(model.name, name)
        return name

    def queue_name(self, priority: str) -> str:
        """Of the queue of jobs of `high` or `low` priority."""
        return f"onnx-{self.name}-jobs-{priority}"

    @property
    def job_role_parameter(self) -> str:
        """The SSM parameter with the name of the role that runs jobs, so that another stack can let it read a bucket."""
        return f"/serverless-onnx/{self.name}/batch/job-role"

    def rule_name(self, purpose: str) -> str:
        """Of an EventBridge rule that may send to the queues of jobs."""
        return f"onnx-{self.name}-{purpose}"

    def endpoint_name(self, model: ModelConfig) -> str:
        """Of the SageMaker endpoint that runs `model`: the realtime models share one, an async model has its own.

        In lower case, as an endpoint's ARN is, whatever its name. Raises `EndpointNameError`.
        """
        shared = self.service.lower()
        name = f"{shared}-{model.name.replace('_', '-')}" if model.asynchronous else shared
        if len(name) > 63 or not _ENDPOINT_NAME.fullmatch(name):
            raise EndpointNameError(model.name, name)
        return name


DEV = DeploymentSettings(name="dev", noncurrent_days=30, examples=True)
PROD = DeploymentSettings(
    name="prod",
    production=True,
    log_retention=RetentionDays.ONE_YEAR,
    access_log_days=365,
    firewall=True,
    audit=True,
    signed_manifests=True,
    gpu=True,
)
