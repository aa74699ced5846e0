"""Publishing, promoting and copying where manifests are signed by KMS."""

import hashlib
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import boto3
import orjson
import pytest
from types_boto3_kms.client import KMSClient
from types_boto3_s3.client import S3Client

from modelserve.errors import RegistryError
from modelserve.manifest import MODEL_FILE, Alias
from modelserve.registry import Registry
from modelserve.signature import SigningKey, SigningKeyUnusable
from tests.unit.modelctl.conftest import BUCKET
from tests.unit.modelctl.factories import draft, model_file, published
from tests.unit.modelctl.test_registry import Breaking, Interrupted, production, promote, rollback
from tools.local.moto_kms import sign_as_kms
from tools.modelctl.s3 import S3Store
from tools.modelctl.signing import KmsSigner, SigningFailed


@pytest.fixture
def kms(s3: S3Client) -> Any:
    sign_as_kms()
    return boto3.client("kms")


def new_key(kms: KMSClient, **options: Any) -> str:
    asked: Any = {"KeyUsage": "SIGN_VERIFY", "KeySpec": "RSA_3072", **options}
    return kms.create_key(**asked)["KeyMetadata"]["Arn"]


@pytest.fixture
def arn(kms: KMSClient) -> str:
    return new_key(kms)


@pytest.fixture
def signer(kms: KMSClient, arn: str) -> KmsSigner:
    return KmsSigner(kms, arn)


@pytest.fixture
def signed(store: S3Store, signer: KmsSigner) -> Registry:
    return Registry(store, signer=signer)


def object_of(store: S3Store, version: str, file: str) -> bytes:
    found = store.get(f"models/fruit/versions/{version}/{file}")
    assert found is not None
    return found.body


def verify(kms: KMSClient, arn: str, alias: Alias) -> None:
    """As a function does."""

    def call(target: str, document: Any) -> Any:
        assert target == "TrentService.GetPublicKey"
        return kms.get_public_key(**document)

    SigningKey(arn, call).check(alias)


def test_a_signature_is_that_of_the_manifests_bytes(signed: Registry, store: S3Store, signer: KmsSigner, tmp_path: Path) -> None:
    version = published(signed, tmp_path)
    text = object_of(store, version, "manifest.sig").decode()
    assert signer.signed(hashlib.sha256(object_of(store, version, "manifest.json")).hexdigest(), text)
    assert not signer.signed(hashlib.sha256(b"other").hexdigest(), text)
    assert len(b64decode(text)) == 384


def test_promoting_hands_the_signature_to_the_functions(signed: Registry, kms: KMSClient, arn: str, tmp_path: Path) -> None:
    promote(signed, published(signed, tmp_path))
    alias = signed.alias("fruit", "production")
    verify(kms, arn, alias)
    assert alias.schema == 2


def test_an_alias_without_a_signature_is_written_as_releases_before_signatures_did(
    registry: Registry, store: S3Store, tmp_path: Path
) -> None:
    promote(registry, published(registry, tmp_path))
    found = store.get("models/fruit/aliases/production.json")
    assert found is not None
    assert b'"schema": 1' in found.body
    assert b"signature" not in found.body


def test_without_a_signer_nothing_is_signed(registry: Registry, store: S3Store, tmp_path: Path) -> None:
    published(registry, tmp_path)
    assert not [key for key in store.list("models/") if key.endswith(".sig")]


def test_a_version_from_before_signing_is_not_promoted_until_publishing_has_signed_it(
    registry: Registry, signed: Registry, kms: KMSClient, arn: str, tmp_path: Path
) -> None:
    version = published(registry, tmp_path)
    with pytest.raises(RegistryError, match=r"is not signed by this store's key.*`modelctl publish fruit`"):
        promote(signed, version)
    assert signed.aliases("fruit") == {}

    assert published(signed, tmp_path) == version
    promote(signed, version)
    verify(kms, arn, signed.alias("fruit", "production"))


def test_an_alias_from_before_signing_is_not_what_promoting_writes_until_it_is_promoted_again(
    registry: Registry, signed: Registry, tmp_path: Path
) -> None:
    version = published(registry, tmp_path)
    promote(registry, version)
    assert signed.damaged("fruit") == {}  # nothing is signed yet
    published(signed, tmp_path)
    assert signed.alias("fruit", "production") != signed.promotion("fruit", version, alias="production")
    assert list(signed.damaged("fruit")) == ["production"]
    promote(signed, version)
    assert signed.alias("fruit", "production") == signed.promotion("fruit", version, alias="production")
    assert signed.damaged("fruit") == registry.damaged("fruit") == {}


def test_a_rollback_to_a_version_from_before_signing_is_refused(registry: Registry, signed: Registry, tmp_path: Path) -> None:
    first = published(registry, tmp_path, b"1")
    promote(registry, first)
    second = published(signed, tmp_path, b"2")
    promote(signed, second)
    with pytest.raises(RegistryError, match=f"version {first} of 'fruit' is not signed"):
        rollback(signed)
    assert production(signed) == second


def test_publishing_signed_content_again_signs_nothing(signed: Registry, signer: KmsSigner, tmp_path: Path, monkeypatch) -> None:
    version = published(signed, tmp_path)
    monkeypatch.setattr(signer, "sign", lambda _: pytest.fail("it is signed already"))
    assert published(signed, tmp_path) == version


def test_a_signature_by_a_former_key_is_not_promoted_and_publishing_makes_another_version(
    signed: Registry, store: S3Store, kms: KMSClient, tmp_path: Path
) -> None:
    version = published(signed, tmp_path)
    arn = new_key(kms)
    renewed = Registry(store, signer=KmsSigner(kms, arn))
    with pytest.raises(RegistryError, match="is not signed by this store's key"):
        promote(renewed, version)

    renewed_version = published(renewed, tmp_path)
    assert renewed_version != version
    assert published(renewed, tmp_path) == renewed_version
    promote(renewed, renewed_version)
    verify(kms, arn, renewed.alias("fruit", "production"))


def rewrite(s3: S3Client, version: str, **changes: Any) -> None:
    """As somebody does who may write the bucket but not sign."""
    key = f"models/fruit/versions/{version}/manifest.json"
    document = json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    file = document["files"][0]
    file |= {name: changes.pop(name) for name in list(changes) if name in file}
    s3.put_object(Bucket=BUCKET, Key=key, Body=orjson.dumps({**document, **changes}, option=orjson.OPT_INDENT_2))


FORGERIES: dict[str, dict[str, Any]] = {
    "metrics": {"metrics": {"accuracy": 1.0}},
    "a reason to force it": {"lineage": {"framework": "none", "forced": "trust me"}},
    "a VersionId of nothing": {"version_id": "77"},
    "no VersionId": {"version_id": None},
    "a size": {"size": 6},
    "anything else": {"ir": 9},
    "anything for its time": {"created": {"evil": "\x1b[31m"}},
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.parametrize("planted", [False, True], ids=["in a signed version", "in a planted one without a signature"])
def test_publishing_signs_no_manifest_that_it_would_not_write(
    signed: Registry, s3: S3Client, tmp_path: Path, planted: bool, forgery: dict[str, Any]
) -> None:
    store = S3Store(s3, BUCKET)
    forged = published(Registry(store) if planted else signed, tmp_path)
    rewrite(s3, forged, **forgery)
    before = {key: object_of(store, forged, "manifest.sig") for key in store.list("models/") if key.endswith(".sig")}

    version = published(signed, tmp_path)

    assert version != forged
    after = {key: object_of(store, forged, "manifest.sig") for key in store.list("models/") if key.endswith(f"{forged}/manifest.sig")}
    assert after == before
    with pytest.raises(RegistryError, match="is not signed by this store's key"):
        promote(signed, forged)
    promote(signed, version)
    assert published(signed, tmp_path) == version


def test_publishing_signs_no_manifest_that_names_other_bytes_of_its_file(
    registry: Registry, signed: Registry, s3: S3Client, tmp_path: Path
) -> None:
    version = published(registry, tmp_path, b"model")
    evil = s3.put_object(Bucket=BUCKET, Key=f"models/fruit/versions/{version}/model.onnx", Body=b"other")["VersionId"]
    rewrite(s3, version, version_id=evil)
    assert published(signed, tmp_path, b"model") != version


def test_a_version_from_before_signing_with_files_that_are_not_those_published_is_not_signed(
    registry: Registry, signed: Registry, tmp_path: Path
) -> None:
    model = model_file(tmp_path, b"model")
    before = registry.publish(draft(), {MODEL_FILE: model, "report.json": model_file(tmp_path, b"theirs")})
    assert signed.publish(draft(), {MODEL_FILE: model, "report.json": model_file(tmp_path, b"ours")}).version != before.version


def test_a_signature_that_is_planted_while_publishing_signs_is_left_alone(
    registry: Registry, store: S3Store, kms: KMSClient, arn: str, tmp_path: Path
) -> None:
    version = published(registry, tmp_path)
    planted = f"models/fruit/versions/{version}/manifest.sig"

    class Planting(KmsSigner):
        def sign(self, sha256: str) -> str:
            if planted not in store.list("models/"):
                store.put(planted, b"theirs")
            return super().sign(sha256)

    assert published(Registry(store, signer=Planting(kms, arn)), tmp_path) != version
    assert object_of(store, version, "manifest.sig") == b"theirs"


def test_publishing_passes_over_a_manifest_that_cannot_be_read(signed: Registry, s3: S3Client, tmp_path: Path) -> None:
    damaged = published(signed, tmp_path)
    s3.put_object(Bucket=BUCKET, Key=f"models/fruit/versions/{damaged}/manifest.json", Body=b"{")
    assert published(signed, tmp_path) != damaged


@pytest.mark.parametrize("damage", [b"", b"?", "ü".encode(), b"\xff\xff", b"AAAA"])
def test_a_damaged_signature_is_not_promoted(signed: Registry, s3: S3Client, tmp_path: Path, damage: bytes) -> None:
    version = published(signed, tmp_path)
    s3.put_object(Bucket=BUCKET, Key=f"models/fruit/versions/{version}/manifest.sig", Body=damage)
    with pytest.raises(RegistryError, match="is not signed by this store's key"):
        promote(signed, version)


def test_an_altered_manifest_is_not_promoted(signed: Registry, store: S3Store, s3: S3Client, tmp_path: Path) -> None:
    version = published(signed, tmp_path)
    altered = object_of(store, version, "manifest.json").replace(b'"ir": 8', b'"ir": 9')
    s3.put_object(Bucket=BUCKET, Key=f"models/fruit/versions/{version}/manifest.json", Body=altered)
    with pytest.raises(RegistryError, match="is not signed by this store's key"):
        promote(signed, version)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_an_interrupted_upload_leaves_no_visible_version(s3: S3Client, signer: KmsSigner, tmp_path: Path, at: int) -> None:
    """Model, signature, manifest: the last one makes the version."""
    breaking = Breaking(s3, at=at)
    with pytest.raises(Interrupted):
        published(Registry(breaking, signer=signer), tmp_path)
    assert Registry(S3Store(s3, BUCKET)).versions("fruit") == []


def test_a_key_that_refuses_to_sign_leaves_no_visible_version(signed: Registry, kms: KMSClient, arn: str, tmp_path: Path) -> None:
    broken = KmsSigner(kms, arn.replace(arn[-12:], "000000000000"))
    with pytest.raises(SigningFailed, match="expected a key in use, and kms:Sign"):
        published(Registry(signed._store, signer=broken), tmp_path)
    assert signed.versions("fruit") == []


@pytest.mark.parametrize("options", [{"KeyUsage": "ENCRYPT_DECRYPT"}, {"KeySpec": "ECC_NIST_P256"}], ids=str)
def test_a_key_for_something_else_is_refused_with_what_to_do(kms: KMSClient, options: Any) -> None:
    with pytest.raises(SigningKeyUnusable, match="deploy the Store stack"):
        KmsSigner(kms, new_key(kms, **options)).signed("00" * 32, "AAAA")


def test_pruning_deletes_the_signature_too(signed: Registry, store: S3Store, tmp_path: Path) -> None:
    old = published(signed, tmp_path, b"1")
    published(signed, tmp_path, b"2")
    signed.prune("fruit", keep=1, by="ann")
    assert not [key for key in store.list("models/fruit/") if old in key]


@pytest.mark.parametrize("forged", ["an altered manifest", "no signature"])
def test_nothing_is_downloaded_or_copied_before_its_signature_fits(
    registry: Registry, signed: Registry, s3: S3Client, tmp_path: Path, forged: str
) -> None:
    version = published(signed if forged == "an altered manifest" else registry, tmp_path)
    rewrite(s3, version, metrics={"accuracy": 1.0})
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for refused in (
        lambda: signed.download("fruit", version, to=scratch),
        lambda: signed.copy("fruit", version, to=registry, scratch=scratch),
    ):
        with pytest.raises(RegistryError, match="is not signed by this store's key"):
            refused()
    assert list(scratch.iterdir()) == []


def test_a_copy_is_signed_by_the_key_of_the_store_it_goes_to(
    signed: Registry, s3: S3Client, kms: KMSClient, arn: str, tmp_path: Path
) -> None:
    s3.create_bucket(Bucket="prod-store")
    prod_arn = new_key(kms)
    prod = Registry(S3Store(s3, "prod-store"), signer=KmsSigner(kms, prod_arn))
    version = signed.publish(draft(), {MODEL_FILE: model_file(tmp_path, b"model")}).version
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    promote(prod, signed.copy("fruit", version, to=prod, scratch=scratch).version)

    verify(kms, prod_arn, prod.alias("fruit", "production"))
    with pytest.raises(RegistryError, match="does not fit its manifest"):
        verify(kms, arn, prod.alias("fruit", "production"))
