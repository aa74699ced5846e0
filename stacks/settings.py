"""All that differs between deployments, in one place; what differs between models is in each model.toml."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk.aws_logs import RetentionDays

__all__ = ["APPLICATION", "DEV", "PROD", "DeploymentSettings"]

APPLICATION = "ServerlessOnnx"


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
    cors_origin: str = ""
    """The origin that browsers may call from, such as https://example.org; empty turns CORS off."""


DEV = DeploymentSettings(name="dev", noncurrent_days=30)
PROD = DeploymentSettings(name="prod", production=True, log_retention=RetentionDays.ONE_YEAR, access_log_days=365)
