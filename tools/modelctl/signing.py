"""The KMS key that signs what is published; its private half never leaves KMS."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from modelserve.signature import ALGORITHM, PublicKey, public_key
from tools.modelctl.errors import ModelctlError

if TYPE_CHECKING:
    from types_boto3_kms.client import KMSClient

__all__ = ["KmsSigner", "SigningFailed"]


class SigningFailed(ModelctlError):
    """The signing key can't be used from here."""

    def __init__(self, arn: str, action: str, reason: str) -> None:
        super().__init__(f"the signing key {arn} could not be used: {reason}; expected a key in use, and {action} on it for your role")


class KmsSigner:
    """A KMS key as `modelserve.versions.Signer`."""

    def __init__(self, client: KMSClient, arn: str) -> None:
        self._client = client
        self._arn = arn

    def sign(self, sha256: str) -> str:
        """The signature in base64. Raises `SigningFailed`."""
        with self._errors("kms:Sign"):
            answer = self._client.sign(KeyId=self._arn, Message=bytes.fromhex(sha256), MessageType="DIGEST", SigningAlgorithm=ALGORITHM)
        return b64encode(answer["Signature"]).decode()

    def signed(self, sha256: str, signature: str) -> bool:
        """Whether it is this key's. Raises `SigningFailed`."""
        return self._public.signed(sha256, signature)

    @cached_property
    def _public(self) -> PublicKey:
        with self._errors("kms:GetPublicKey"):
            return public_key(self._arn, self._client.get_public_key(KeyId=self._arn))

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise SigningFailed(self._arn, action, str(error)) from error
