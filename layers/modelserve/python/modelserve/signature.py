"""Whether a manifest was signed by the deployment's key; imported only where signatures are asked for.

RSA by `pow`: importing `cryptography` for one verification costs a cold start more than all the arithmetic (docs/adr/0005).
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Callable, Mapping

from ._background import Background
from ._typing import TYPE_CHECKING, Any, Final
from .aws import JsonService
from .errors import RegistryError, UnverifiedModel
from .manifest import Alias, alias_key

if TYPE_CHECKING:
    from ._connections import KeptConnection

__all__ = ["ALGORITHM", "PublicKey", "SigningKey", "SigningKeyUnusable", "public_key"]

ALGORITHM: Final = "RSASSA_PKCS1_V1_5_SHA_256"
"""As KMS calls it."""
_EXPONENT = 65537
# A SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) of an RSA key is one run of bytes but for its modulus and the lengths that follow from it.
_HEADER = "3082{:04x}300d06092a864886f70d01010105000382{:04x}003082{:04x}0282{:04x}00"
_FOOTER = bytes.fromhex("0203010001")
_SIZES = (256, 384, 512)
"""Bytes of a modulus: RSA_2048, RSA_3072 and RSA_4096 are all that KMS has."""
_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
"""What stands before a SHA-256 in the encoding (RFC 8017, 9.2, note 1)."""


class SigningKeyUnusable(RegistryError):
    """The key that should sign manifests is of another kind."""

    def __init__(self, arn: str, found: str) -> None:
        super().__init__(f"the signing key {arn} is {found}; expected an RSA key for {ALGORITHM}; deploy the Store stack again")


class PublicKey:
    """An RSA key of 2048, 3072 or 4096 bits with the exponent 65537."""

    def __init__(self, modulus: int, size: int) -> None:
        """`size` is of the modulus, in bytes."""
        self._modulus = modulus
        self._size = size

    @classmethod
    def from_der(cls, der: bytes) -> PublicKey:
        """From a SubjectPublicKeyInfo. Raises `ValueError` for any byte that such a key's would not have."""
        for size in _SIZES:
            header = bytes.fromhex(_HEADER.format(size + 34, size + 15, size + 10, size + 1))
            if len(der) == len(header) + size + len(_FOOTER) and der.startswith(header) and der.endswith(_FOOTER):
                modulus = der[len(header) : -len(_FOOTER)]
                if modulus[0] & 0x80 and modulus[-1] & 1:
                    return cls(int.from_bytes(modulus, "big"), size)
        raise ValueError("not the SubjectPublicKeyInfo of an RSA key of 2048, 3072 or 4096 bits with the exponent 65537")

    def verify(self, digest: bytes, signature: bytes) -> bool:
        """Whether `signature` is RSASSA-PKCS1-v1_5 over a message of that SHA-256 (RFC 8017, 8.2.2).

        The whole encoding is compared, and nothing of it parsed: parsers have taken forged ones.
        """
        number = int.from_bytes(signature, "big")
        if len(digest) != 32 or len(signature) != self._size or number >= self._modulus:
            return False
        tail = b"\x00" + _SHA256_INFO + digest
        expected = b"\x00\x01" + b"\xff" * (self._size - len(tail) - 2) + tail
        return pow(number, _EXPONENT, self._modulus).to_bytes(self._size, "big") == expected

    def signed(self, sha256: str, signature: str) -> bool:
        """As `verify`, of the texts in an alias: hex and base64."""
        try:
            return self.verify(bytes.fromhex(sha256), a2b_base64(signature, strict_mode=True))
        except (ValueError, TypeError):
            return False


class SigningKey:
    """A KMS key; its public half is fetched once, and kept for the life of the environment."""

    def __init__(self, arn: str, call: Callable[[str, Mapping[str, Any]], Mapping[str, Any]]) -> None:
        """`call` is KMS: an action and its document to its answer."""
        self._arn = arn
        self._call = call
        self._public: PublicKey | None = None
        self._fetching: Background[None] | None = None

    @classmethod
    def from_environ(
        cls, arn: str, environ: Mapping[str, str], *, remaining: Callable[[], float], connection: KeptConnection | None = None
    ) -> SigningKey:
        """With region, credentials and endpoint as Lambda and the AWS SDKs name them; no call takes longer than what is `remaining`.

        `connection` may have been opened; it is closed after a call, which is the only one where it is answered.
        """
        kms = JsonService.from_environ("kms", environ, remaining=remaining, connection=connection)

        def call(target: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
            try:
                return kms.call(target, document)
            finally:
                kms.close()

        return cls(arn, call)

    def prefetch(self) -> None:
        """Begins to fetch what `check` will need, beside what the caller does next."""
        if self._public is None and (self._fetching is None or self._fetching.failed):
            self._fetching = Background(self._fetch)

    def check(self, alias: Alias) -> None:
        """Raises `UnverifiedModel` unless this key signed the manifest that `alias` names; `ServiceUnavailable` when KMS doesn't say."""
        found = "no signature" if alias.signature is None else "a signature that does not fit its manifest"
        if alias.signature is None or not self._key().signed(alias.manifest_sha256, alias.signature):
            raise UnverifiedModel(alias_key(alias.name, alias.alias), found, f"one by {self._arn}, as `modelctl promote` writes it")

    def _key(self) -> PublicKey:
        if self._public is None:
            (self._fetching or Background(self._fetch)).result()
        assert self._public is not None  # or `_fetch` has raised
        return self._public

    def _fetch(self) -> None:
        self._public = public_key(self._arn, self._call("TrentService.GetPublicKey", {"KeyId": self._arn}))


def public_key(arn: str, answer: Mapping[str, Any]) -> PublicKey:
    """The key in KMS's answer to GetPublicKey. Raises `SigningKeyUnusable`."""
    usage, algorithms, der = answer.get("KeyUsage"), answer.get("SigningAlgorithms") or (), answer.get("PublicKey", b"")
    if usage != "SIGN_VERIFY" or ALGORITHM not in algorithms:
        raise SigningKeyUnusable(arn, f"for {usage} with {', '.join(algorithms) or 'no signing algorithm'}")
    try:
        return PublicKey.from_der(der if isinstance(der, bytes) else a2b_base64(der, strict_mode=True))
    except (ValueError, TypeError) as error:
        raise SigningKeyUnusable(arn, str(error)) from None
