import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from types_boto3_s3.client import S3Client

from modelserve.registry import Registry
from tools.modelctl.limits import Limits
from tools.modelctl.s3 import S3Store
from tools.modelctl.trial import Refused, Trial, attempt

BUCKET = "model-store"


@pytest.fixture(scope="session", autouse=True)
def _moto(moto_urls: None, kms_keys: None) -> None:
    """Nearly all tests here mock AWS."""


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials that open nothing, and no configuration of the person who runs the tests."""
    for variable in ("AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL", "MODELCTL_DEPLOYMENT", "MODEL_KEY"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "local")
    for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(variable, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture(scope="session", autouse=True)
def tried_once() -> Iterator[None]:
    """The same model with the same example and limits is tried once: a process of its own takes longer than the rest of a test."""
    known: dict[tuple[bytes, bytes | None, Limits], Trial | Refused] = {}

    def remembered(model: Path, example: Path | None, limits: Limits) -> Trial | Refused:
        key = (model.read_bytes(), example.read_bytes() if example else None, limits)
        if key not in known:
            known[key] = attempt(model, example, limits)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tools.modelctl.assess.attempt", remembered)
        patch.setattr("tools.modelctl.safety.attempt", remembered)
        yield


@pytest.fixture(scope="session", autouse=True)
def timed_briefly() -> Iterator[None]:
    """Each model that is built is timed, three times each at least: how long it takes is nothing to these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tools.modelctl.assess._MEASURED_FOR", 0.001)
        yield


@pytest.fixture
def s3() -> Iterator[S3Client]:
    """A moto S3 with one versioned bucket."""
    with mock_aws():
        client: Any = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield client


@pytest.fixture
def store(s3: S3Client) -> S3Store:
    return S3Store(s3, BUCKET)


@pytest.fixture
def clock() -> Callable[[], float]:
    """A second and a half passes at each look."""
    moments = itertools.count(1_795_000_000.25, 1.5)
    return lambda: next(moments)


@pytest.fixture
def registry(store: S3Store, clock: Callable[[], float]) -> Registry:
    return Registry(store, clock=clock)
