"""Keys that are made up for one run: a certificate authority that only its processes trust, and a key that signs its manifests."""

from __future__ import annotations

import datetime
import ipaddress
import json
from base64 import b64encode
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from modelserve.signature import ALGORITHM, PublicKey

__all__ = ["KEY_ARN", "Signer", "certificate"]

KEY_ARN = "arn:aws:kms:us-east-1:123456789012:key/loopback"


class Signer:
    """An RSA key of 2048 bits, as the Store stack's; satisfies `versions.Signer`."""

    def __init__(self) -> None:
        self._private = rsa.generate_private_key(65537, 2048)
        self._der = self._private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, sha256: str) -> str:
        """The signature over a manifest of that SHA-256, in base64."""
        return b64encode(self._private.sign(bytes.fromhex(sha256), PKCS1v15(), Prehashed(SHA256()))).decode()

    def signed(self, sha256: str, signature: str) -> bool:
        """Whether it is this key's."""
        return PublicKey.from_der(self._der).signed(sha256, signature)

    def answer(self) -> bytes:
        """KMS's to GetPublicKey."""
        return json.dumps(
            {"KeyUsage": "SIGN_VERIFY", "SigningAlgorithms": [ALGORITHM], "PublicKey": b64encode(self._der).decode()}
        ).encode()


def certificate(folder: Path) -> tuple[Path, Path]:
    """Files in `folder`: a certificate for 127.0.0.1 with its key, and the authority that signed it; both elliptic, as S3's."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name, now = _name("An authority of one run"), datetime.datetime.now(datetime.UTC)
    common = x509.CertificateBuilder().issuer_name(name).not_valid_before(now - datetime.timedelta(hours=1))
    common = common.not_valid_after(now + datetime.timedelta(days=1))
    trusted = (
        common.subject_name(name)
        .public_key(authority.public_key())
        .serial_number(1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), critical=False)
        .add_extension(_usage(signs=True), critical=True)
        .sign(authority, SHA256())
    )
    given = (
        common.subject_name(_name("Of one run"))
        .public_key(key.public_key())
        .serial_number(2)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        .add_extension(_usage(signs=False), critical=True)
        .sign(authority, SHA256())
    )
    chain, roots = folder / "server.pem", folder / "authority.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain.write_bytes(given.public_bytes(Encoding.PEM) + private)
    roots.write_bytes(trusted.public_bytes(Encoding.PEM))
    return chain, roots


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
