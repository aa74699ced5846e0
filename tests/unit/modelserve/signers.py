"""Keys that sign, made by the library that the verification is measured against."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from modelserve.aws import ServiceUnavailable
from modelserve.signature import ALGORITHM, PublicKey

ARN = "arn:aws:kms:us-east-1:123456789012:key/1"


@cache
def private_key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """One for each `number`."""
    return rsa.generate_private_key(65537, bits)


def der(key: Any) -> bytes:
    """The SubjectPublicKeyInfo of a private key's other half."""
    return bytes(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


class LocalSigner:
    """A signing key without KMS: a `registry.Signer`, and the KMS that a `signature.SigningKey` calls; `down` makes that fail."""

    def __init__(self, number: int = 0) -> None:
        self._private = private_key(number=number)
        self._public = PublicKey.from_der(der(self._private))
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.down: str | None = None

    def sign(self, sha256: str) -> str:
        return b64encode(self._private.sign(bytes.fromhex(sha256), PKCS1v15(), Prehashed(SHA256()))).decode()

    def signed(self, sha256: str, signature: str) -> bool:
        b64decode(signature, validate=True)
        return self._public.signed(sha256, signature)

    def call(self, target: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        self.calls.append((target, document))
        if self.down is not None:
            raise ServiceUnavailable("kms", target, self.down)
        return {"KeyUsage": "SIGN_VERIFY", "SigningAlgorithms": [ALGORITHM], "PublicKey": b64encode(der(self._private)).decode()}

    def close(self) -> None:
        """Keeps no connection."""
