"""Models, jobs, data sets and clients: the one stack that holds state, and the only one that may grant access to it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from aws_cdk import CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from .alarms import TamperingAlarm
from .audit import Audit
from .buckets import DataBucket, JobBucket, LogBucket, ModelBucket
from .roles import FunctionRole, NarrowRole
from .settings import DeploymentSettings

__all__ = ["ANSWERS", "ARCHIVE", "CAPTURED", "FAILURES", "UPLOADS", "WORK", "Store"]

ARCHIVE = "model.tar.gz"
"""The file of a version that an endpoint loads."""
ANSWERS, FAILURES = "answers", "failures"
"""Folders below a model's in the bucket of jobs, into which SageMaker writes."""
CAPTURED = "_captured"  # which no model can be called
"""The folder of the bucket of jobs for what SageMaker captures of requests and answers."""
UPLOADS = "_uploads"
"""The folder of the bucket of jobs for what clients upload."""
WORK = "work"
"""The folder of the bucket of data sets for what runs keep of themselves."""


class Store(Stack):
    """A bucket with versions and aliases of models, its key, buckets of jobs and data sets, and tables of jobs and clients.

    Other stacks learn their names from SSM parameters, never through an export, so that no stack locks another.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: DeploymentSettings, **kwargs: Any) -> None:
        super().__init__(scope, construct_id, description=f"Model store of {settings.name}", **kwargs)
        self._prefix = f"/serverless-onnx/{settings.name}/store"
        self._encrypted = settings.existing_bucket is None or settings.existing_key_arn is not None
        self._settings = settings
        bucket = self._models()
        jobs, data = self._jobs(), self._data()
        job_table = self._job_table().table_name
        self._publish("job-table", job_table)
        clients = settings.existing_client_table or self._clients().table_name
        self._publish("clients", clients)
        CfnOutput(self, "ModelBucket", value=bucket, description="Where modelctl publishes models")
        CfnOutput(self, "JobBucket", value=jobs, description="Where requests and answers of jobs are kept for some days")
        CfnOutput(self, "JobTable", value=job_table, description="Where it is kept what became of each job")
        CfnOutput(self, "DataBucket", value=data, description="Data sets put under in/NAME/ are run by model NAME")
        CfnOutput(self, "ClientTable", value=clients, description="Where modelctl keeps clients")
        TamperingAlarm(self, "Tampering", settings=settings)
        if settings.signed_manifests:
            signing_key = settings.existing_signing_key_arn or self._signing_key().key_arn
            self._publish("signing-key", signing_key)
            CfnOutput(self, "SigningKey", value=signing_key, description="What modelctl signs manifests with")

    def bucket_name(self, reader: Construct) -> str:
        """The bucket's name as `reader`'s stack may use it."""
        return self._look_up(reader, "bucket")

    def job_bucket_name(self, reader: Construct) -> str:
        """The name of the bucket of jobs as `reader`'s stack may use it."""
        return self._look_up(reader, "jobs")

    def job_table_name(self, reader: Construct) -> str:
        """The name of the table of jobs as `reader`'s stack may use it."""
        return self._look_up(reader, "job-table")

    def data_bucket_name(self, reader: Construct) -> str:
        """The name of the bucket of data sets as `reader`'s stack may use it."""
        return self._look_up(reader, "data")

    def key_arn(self, reader: Construct) -> str | None:
        """The ARN of the key of all buckets as `reader`'s stack may use it; None where S3's own keys encrypt them."""
        return self._look_up(reader, "key") if self._encrypted else None

    def client_table_name(self, reader: Construct) -> str:
        """The client table's name as `reader`'s stack may use it."""
        return self._look_up(reader, "clients")

    def signing_key_arn(self, reader: Construct) -> str:
        """The signing key's ARN as `reader`'s stack may use it; empty where manifests are not signed."""
        return self._look_up(reader, "signing-key") if self._settings.signed_manifests else ""

    def grant_read(self, role: FunctionRole, model_name: str) -> None:
        """Lets `role` read versions and aliases of one model and see who signed them, and nothing else."""
        narrow = "The prefix of the one model that this function serves; its files' names are not known beforehand."
        self._grant(role, actions=["s3:GetObject", "s3:GetObjectVersion"], prefix=f"models/{model_name}/*", wildcard=narrow)
        if self._settings.signed_manifests:
            role.allow(["kms:GetPublicKey"], self.signing_key_arn(role))

    def grant_read_several(self, role: FunctionRole, model_names: Sequence[str]) -> None:
        """The same of several models, in so few words that a role has room for forty: aliases of any model may be seen to be there."""
        bucket_arn = self._bucket_arn(role, "bucket")
        narrow = "The prefixes of the models that this function runs; their files' names are not known beforehand."
        keys = [f"{bucket_arn}/models/{name}/*" for name in model_names]
        role.allow(["s3:GetObject", "s3:GetObjectVersion"], keys, wildcard=narrow)
        role.allow(["s3:ListBucket"], bucket_arn, conditions={"StringLike": {"s3:prefix": "models/*/aliases/*"}})
        self._grant_key(role, ["kms:Decrypt"])
        if self._settings.signed_manifests:
            role.allow(["kms:GetPublicKey"], self.signing_key_arn(role))

    def grant_read_aliases(self, role: FunctionRole) -> None:
        """Lets `role` see which models are promoted, but no model."""
        narrow = "Aliases only: small documents that name a version and its hashes; no model's bytes."
        self._grant(role, actions=["s3:GetObject"], prefix="models/*/aliases/*", wildcard=narrow)

    def grant_archives(self, role: NarrowRole, model_names: Sequence[str], *, several: bool) -> None:
        """Lets an endpoint fetch the archives of its models' versions, and no other file of them.

        For an endpoint of `several` models SageMaker lists `models/`, to see that there is one at all.
        """
        bucket_arn = self._bucket_arn(role, "bucket")
        versions = [f"models/{name}/versions/" for name in model_names]
        narrow = "One file of each version of the models that this endpoint runs; versions are not known beforehand."
        role.allow(["s3:GetObject"], [f"{bucket_arn}/{prefix}*/{ARCHIVE}" for prefix in versions], wildcard=narrow)
        listed = [*(["models/"] if several else []), *(f"{prefix}*" for prefix in versions)]
        role.allow(["s3:ListBucket"], bucket_arn, conditions={"StringLike": {"s3:prefix": listed}})
        self._grant_key(role, ["kms:Decrypt"])

    def grant_jobs(self, role: NarrowRole, model_name: str) -> None:
        """Lets a gateway function write requests of one model's jobs and read what became of them."""
        narrow = "The prefix of the one model whose jobs this function takes; each job has an id of its own."
        bucket_arn, prefix = self._bucket_arn(role, "jobs"), f"{model_name}/*"
        role.allow(["s3:GetObject", "s3:PutObject"], f"{bucket_arn}/{prefix}", wildcard=narrow)
        role.allow(["s3:ListBucket"], bucket_arn, conditions={"StringLike": {"s3:prefix": prefix}})
        self._grant_key(role, ["kms:Decrypt", "kms:GenerateDataKey"])

    def grant_submit(self, role: NarrowRole, model_name: str) -> None:
        """Lets a function keep requests of one model's jobs, see that an upload is there, and keep and look up one job at a time."""
        bucket_arn = self._bucket_arn(role, "jobs")
        narrow = "The prefix of the one model whose jobs this function takes; each job has an id of its own."
        role.allow(["s3:PutObject"], f"{bucket_arn}/{model_name}/*", wildcard=narrow)
        uploads = "Uploads, none of which belongs to a model before a job names it; the function looks for its client's own only."
        role.allow(["s3:GetObject"], f"{bucket_arn}/{UPLOADS}/*", wildcard=uploads)
        role.allow(["s3:ListBucket"], bucket_arn, conditions={"StringLike": {"s3:prefix": f"{UPLOADS}/*"}})
        self._grant_key(role, ["kms:Decrypt", "kms:GenerateDataKey"])
        role.allow(["dynamodb:GetItem", "dynamodb:PutItem"], self._table_arn(self.job_table_name(role)))

    def grant_work(self, role: NarrowRole) -> None:
        """Lets a function read requests and uploads of jobs, write and delete their results, and keep what became of them."""
        narrow = "Requests, uploads or results, whoever's job it is; each job has an id of its own."
        bucket_arn = self._bucket_arn(role, "jobs")
        asked = ["*/*/*/request-*", f"{UPLOADS}/*"]
        role.allow(["s3:GetObject"], [f"{bucket_arn}/{keys}" for keys in asked], wildcard=narrow)
        role.allow(["s3:DeleteObject", "s3:PutObject"], f"{bucket_arn}/*/*/*/result*", wildcard=narrow)
        role.allow(["s3:ListBucket"], bucket_arn, conditions={"StringLike": {"s3:prefix": asked}})
        self._grant_key(role, ["kms:Decrypt", "kms:GenerateDataKey"])
        items = self._table_arn(self.job_table_name(role))
        role.allow([f"dynamodb:{each}Item" for each in ("Delete", "Get", "Put", "Update")], items)

    def grant_data_sets(self, role: NarrowRole) -> None:
        """Lets a function read data sets, here and in the buckets that the settings name, and write plans, parts and predictions."""
        bucket_arn = self._bucket_arn(role, "data")
        narrow = "Folders of the bucket of data sets; each run has one of its own, whose name is not known beforehand."
        role.allow(["s3:GetObject"], [f"{bucket_arn}/{each}/*" for each in ("in", "sets", WORK, "out")], wildcard=narrow)
        written = [f"{bucket_arn}/{each}/*" for each in (WORK, "out")]
        role.allow(["s3:AbortMultipartUpload", "s3:PutObject"], written, wildcard=narrow)
        # Of no prefix, since whether something is there is asked by HEAD too, which names none: S3 would answer 403 for 404.
        role.allow(["s3:ListBucket"], bucket_arn)
        for name in self._settings.data_set_buckets:
            named = self.format_arn(service="s3", region="", account="", resource=name)
            wide = "A bucket that data_set_buckets of the settings opens to data sets."
            role.allow(["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"], f"{named}/*", wildcard=wide)
            role.allow(["s3:ListBucket"], named)
        self._grant_key(role, ["kms:Decrypt", "kms:GenerateDataKey"])

    def grant_shards(self, role: NarrowRole) -> None:
        """Lets a state machine read lists of shards, and note why one failed."""
        narrow = "Lists of shards, and notes of why one failed; each run has a folder of its own."
        role.allow(["s3:GetObject", "s3:PutObject"], f"{self._bucket_arn(role, 'data')}/{WORK}/*", wildcard=narrow)
        self._grant_key(role, ["kms:Decrypt", "kms:GenerateDataKey"])

    def grant_events(self, role: NarrowRole) -> None:
        """Lets `role` tell EventBridge's default bus of jobs and predictions, in no other name than the deployment's."""
        bus = self.format_arn(service="events", resource="event-bus", resource_name="default")
        role.allow(["events:PutEvents"], bus, conditions={"StringEquals": {"events:source": self._settings.service}})

    def grant_results(self, role: NarrowRole) -> None:
        """Lets a function look up and end one job at a time, hand out its result, and let clients write uploads; it reads no request."""
        bucket_arn = self._bucket_arn(role, "jobs")
        narrow = "Requests and results of jobs of every model; whose a job is, the function reads in its record, and tells nobody else."
        results = f"{bucket_arn}/*/*/*/result-*"
        role.allow(["s3:GetObject"], results, wildcard=narrow)
        role.allow(["s3:ListBucket"], bucket_arn, conditions={"StringLike": {"s3:prefix": "*/*/*/result-*"}})
        role.allow(["s3:DeleteObject"], [results, f"{bucket_arn}/*/*/*/request-*"], wildcard=narrow)
        own = "Uploads of every client; the function signs for a place under the client's own name."
        role.allow(["s3:PutObject"], f"{bucket_arn}/{UPLOADS}/*", wildcard=own)
        self._grant_key(role, ["kms:Decrypt", "kms:GenerateDataKey"])
        role.allow(["dynamodb:DeleteItem", "dynamodb:GetItem"], self._table_arn(self.job_table_name(role)))

    def grant_answers(self, role: NarrowRole, model_name: str) -> None:
        """Lets an endpoint read requests of one model's jobs, and write answers and failures."""
        narrow = "The prefix of the one model that this endpoint runs; each job has an id of its own."
        bucket_arn = self._bucket_arn(role, "jobs")
        role.allow(["s3:GetObject"], f"{bucket_arn}/{model_name}/*", wildcard=narrow)
        written = [f"{bucket_arn}/{model_name}/{folder}/*" for folder in (ANSWERS, FAILURES)]
        role.allow(["s3:AbortMultipartUpload", "s3:PutObject"], written, wildcard=narrow)
        self._grant_key(role, ["kms:Decrypt", "kms:GenerateDataKey"])

    def grant_capture(self, role: NarrowRole) -> None:
        """Lets an endpoint write down requests and answers, and read none of it."""
        narrow = "What this endpoint captured; SageMaker names the files by the hour."
        role.allow(["s3:PutObject"], f"{self._bucket_arn(role, 'jobs')}/{CAPTURED}/*", wildcard=narrow)
        self._grant_key(role, ["kms:GenerateDataKey"])

    def grant_read_clients(self, role: FunctionRole) -> None:
        """Lets `role` look up one client at a time; it can list none."""
        role.allow(["dynamodb:GetItem"], self._table_arn(self.client_table_name(role)))

    def _grant(self, role: FunctionRole, *, actions: list[str], prefix: str, wildcard: str) -> None:
        bucket_arn = self._bucket_arn(role, "bucket")
        role.allow(actions, f"{bucket_arn}/{prefix}", wildcard=wildcard)
        # Without it S3 answers 403 for a key that doesn't exist, and a model that isn't there looks like a missing permission.
        role.allow(["s3:ListBucket"], bucket_arn, conditions={"StringLike": {"s3:prefix": prefix}})
        self._grant_key(role, ["kms:Decrypt"])

    def _grant_key(self, role: NarrowRole, actions: list[str]) -> None:
        if key_arn := self.key_arn(role):
            role.allow(actions, key_arn)

    def _bucket_arn(self, reader: Construct, parameter: str) -> str:
        return self.format_arn(service="s3", region="", account="", resource=self._look_up(reader, parameter))

    def _table_arn(self, name: str) -> str:
        return self.format_arn(service="dynamodb", resource="table", resource_name=name)

    def _models(self) -> str:
        """Makes or adopts the bucket of models, and its audit; the bucket's name."""
        settings = self._settings
        name, key_arn = settings.existing_bucket, settings.existing_key_arn
        if name is None:
            bucket = ModelBucket(self, "Bucket", access_logs=self._access_logs, noncurrent_days=settings.noncurrent_days)
            name, key_arn = bucket.bucket_name, bucket.key_arn
        self._publish("bucket", name)
        self._key_arn = key_arn
        if key_arn is not None:
            self._publish("key", key_arn)
        if settings.audit:
            arn = self.format_arn(service="s3", region="", account="", resource=name)
            Audit(self, "Audit", model_bucket_arn=arn, access_logs=self._access_logs, days=settings.access_log_days)
        return name

    def _jobs(self) -> str:
        """Makes the bucket of jobs, under the key of the bucket of models; its name."""
        settings = self._settings
        bucket = JobBucket(
            self, "Jobs", access_logs=self._access_logs, key=self._key, days=settings.job_days, cors_origin=settings.cors_origin
        )
        self._publish("jobs", bucket.bucket_name)
        return bucket.bucket_name

    def _data(self) -> str:
        """Makes the bucket of data sets, under the key of the bucket of models; its name."""
        bucket = DataBucket(self, "Data", access_logs=self._access_logs, key=self._key, days=self._settings.data_set_days)
        self._publish("data", bucket.bucket_name)
        return bucket.bucket_name

    @cached_property
    def _key(self) -> kms.IKey | None:
        return kms.Key.from_key_arn(self, "StoreKey", self._key_arn) if self._key_arn else None

    @cached_property
    def _access_logs(self) -> LogBucket:
        return LogBucket(self, "AccessLogs", days=self._settings.access_log_days)

    def _publish(self, name: str, value: str) -> None:
        ssm.StringParameter(self, f"{name.title()}Parameter", parameter_name=f"{self._prefix}/{name}", string_value=value)

    def _look_up(self, reader: Construct, name: str) -> str:
        return ssm.StringParameter.value_for_string_parameter(reader, f"{self._prefix}/{name}")

    def _job_table(self) -> dynamodb.Table:
        """One item a job, and Powertools' records of what has been run; both are forgotten after some days."""
        return self._table("JobItems", key="id", time_to_live_attribute="expiration")

    def _clients(self) -> dynamodb.Table:
        """One item a client, with the hashes of its keys."""
        return self._table("Clients", key="client")

    def _table(self, construct_id: str, *, key: str, **properties: Any) -> dynamodb.Table:
        return dynamodb.Table(
            self,
            construct_id,
            partition_key=dynamodb.Attribute(name=key, type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            # AWS's key in KMS: a store without a key of its own has one too, and readers need no permission for it.
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(point_in_time_recovery_enabled=True),
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN,
            **properties,
        )

    def _signing_key(self) -> kms.Key:
        return kms.Key(
            self,
            "Signing",
            description="Signs the manifests of models",
            key_spec=kms.KeySpec.RSA_3072,
            key_usage=kms.KeyUsage.SIGN_VERIFY,
            removal_policy=RemovalPolicy.RETAIN,
        )
