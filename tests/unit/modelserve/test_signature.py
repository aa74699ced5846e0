"""Signatures as the `cryptography` package sees them, and forgeries as verifiers before this one have taken them."""

import hashlib
import json
from base64 import b64encode
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512
from hypothesis import given
from hypothesis import strategies as st

from modelserve._connections import KeptConnection
from modelserve.aws import ServiceUnavailable
from modelserve.errors import UnverifiedModel
from modelserve.manifest import Alias, File
from modelserve.signature import ALGORITHM, PublicKey, SigningKey, SigningKeyUnusable, public_key

from .servers import response, scripted
from .signers import ARN, LocalSigner, der, private_key

INFO = bytes.fromhex("3031300d060960864801650304020105000420")
DIGEST = hashlib.sha256(b"manifest").digest()
KEY = private_key()
PUBLIC = PublicKey.from_der(der(KEY))
NUMBERS = KEY.private_numbers()
MODULUS = NUMBERS.public_numbers.n
SIZE = 256


def signature(digest: bytes = DIGEST, key: rsa.RSAPrivateKey = KEY) -> bytes:
    return key.sign(digest, PKCS1v15(), Prehashed(SHA256()))


def of_encoding(encoded: bytes) -> bytes:
    """The signature that opens to `encoded`, by whoever has the private key: the hardest forger there is."""
    return pow(int.from_bytes(encoded, "big"), NUMBERS.d, MODULUS).to_bytes(SIZE, "big")


def oracle(digest: bytes, signed: bytes) -> bool:
    try:
        KEY.public_key().verify(signed, digest, PKCS1v15(), Prehashed(SHA256()))
    except InvalidSignature:
        return False
    return True


# What is signed


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
@pytest.mark.parametrize("number", [0, 1])
def test_a_signature_of_the_key_verifies_and_of_no_other_digest(bits, number):
    key = private_key(bits, number)
    public = PublicKey.from_der(der(key))

    assert public.verify(DIGEST, signature(key=key))
    assert not public.verify(hashlib.sha256(b"other").digest(), signature(key=key))


@given(st.binary(min_size=32, max_size=32))
def test_a_signature_of_any_digest_verifies(digest):
    assert PUBLIC.verify(digest, signature(digest))


@given(st.binary(min_size=32, max_size=32), st.integers(0, 8 * SIZE - 1))
def test_a_signature_with_any_bit_flipped_is_refused_as_by_the_oracle(digest, bit):
    flipped = (int.from_bytes(signature(digest), "big") ^ (1 << bit)).to_bytes(SIZE, "big")

    assert not PUBLIC.verify(digest, flipped)
    assert not oracle(digest, flipped)


@given(st.integers(0, 255))
def test_a_digest_with_any_bit_flipped_is_refused(bit):
    assert not PUBLIC.verify((int.from_bytes(DIGEST, "big") ^ (1 << bit)).to_bytes(32, "big"), signature())


@given(st.binary(max_size=600))
def test_what_nobody_signed_is_refused_as_by_the_oracle(signed):
    assert PUBLIC.verify(DIGEST, signed) is oracle(DIGEST, signed) is False


@given(st.binary(min_size=SIZE, max_size=SIZE))
def test_any_encoding_but_the_one_is_refused_even_from_the_key_itself(encoded):
    signed = of_encoding(b"\x00" + encoded[1:])

    assert not PUBLIC.verify(DIGEST, signed)


@pytest.mark.parametrize("length", [0, 1, SIZE - 1, SIZE + 1, 384, 512])
def test_a_signature_of_another_length_is_refused(length):
    assert not PUBLIC.verify(DIGEST, signature()[:length].ljust(length, b"\0"))
    assert not PUBLIC.verify(DIGEST, signature().rjust(max(length, SIZE + 1), b"\0"))


def test_a_number_beyond_the_modulus_is_refused_though_it_opens_to_the_same():
    """RFC 8017, 5.2.2: one message would else have several signatures."""
    message = next(bytes([n]) * 32 for n in range(256) if int.from_bytes(signature(bytes([n]) * 32), "big") + MODULUS < 1 << 8 * SIZE)
    beyond = (int.from_bytes(signature(message), "big") + MODULUS).to_bytes(SIZE, "big")

    assert pow(int.from_bytes(beyond, "big"), 65537, MODULUS) == pow(int.from_bytes(signature(message), "big"), 65537, MODULUS)
    assert not PUBLIC.verify(message, beyond)


@pytest.mark.parametrize(
    "number",
    [0, 1, MODULUS - 1, MODULUS, MODULUS + 1, (1 << 8 * SIZE) - 1],
    ids=["0", "1", "modulus-1", "modulus", "modulus+1", "all ones"],
)
def test_a_number_that_opens_to_itself_is_refused(number):
    assert not PUBLIC.verify(DIGEST, number.to_bytes(SIZE, "big"))


@pytest.mark.parametrize("digest", [b"", DIGEST[:31], DIGEST + b"\0", DIGEST * 2])
def test_a_digest_that_is_no_sha256_is_refused(digest):
    assert not PUBLIC.verify(digest, of_encoding(padded(INFO + digest)))


@pytest.mark.parametrize("algorithm", [SHA1(), SHA384(), SHA512()], ids=lambda each: each.name)
def test_a_signature_with_another_hash_is_refused(algorithm):
    signed = KEY.sign(b"manifest", PKCS1v15(), algorithm)

    assert not PUBLIC.verify(DIGEST, signed)


def test_a_signature_with_another_padding_is_refused():
    assert not PUBLIC.verify(DIGEST, KEY.sign(DIGEST, PSS(MGF1(SHA256()), 32), Prehashed(SHA256())))


def padded(tail: bytes, fill: bytes = b"\xff", kind: int = 1) -> bytes:
    return bytes([0, kind]) + fill * ((SIZE - 3 - len(tail)) // len(fill)) + b"\0" + tail


FORGED = {
    # Bleichenbacher, CRYPTO 2006 rump session: little padding, and garbage behind the hash for whoever stops reading there.
    "garbage behind the hash": b"\x00\x01" + b"\xff" * 8 + b"\x00" + INFO + DIGEST + b"\x5a" * (SIZE - 11 - 51),
    # CVE-2014-1568 (BERserk): lengths in more bytes than they need, garbage between.
    "lengths in the long form": padded(bytes.fromhex("308131300d060960864801650304020105000420") + DIGEST),
    # Garbage in the place of the algorithm's NULL (Kühn, Pyshkin, Tews, Weinmann: Variants of Bleichenbacher's attack, 2008).
    "other parameters": padded(INFO.replace(b"\x05\x00", b"\x04\x00") + DIGEST),
    "parameters left out": padded(bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20" + DIGEST),
    "parameters with garbage": padded(
        bytes.fromhex("3041301d060960864801650304020105100011223344556677889900112233445504") + b"\x20" + DIGEST
    ),
    "the hash alone": padded(DIGEST),
    "no padding": b"\0" * (SIZE - 51) + INFO + DIGEST,
    "a zero within the padding": padded(INFO + DIGEST).replace(b"\xff" * 9, b"\xff" * 8 + b"\0", 1),
    "padding that is not 0xff": padded(INFO + DIGEST, b"\xfe"),
    "block type 0": padded(INFO + DIGEST, b"\0", 0),
    "block type 2": padded(INFO + DIGEST, b"\xaa", 2),
    "another first byte": b"\x01" + padded(INFO + DIGEST)[1:],
}


def test_the_one_right_encoding_is_taken():
    """What follows refuses for its difference from it."""
    assert of_encoding(padded(INFO + DIGEST)) == signature()
    assert PUBLIC.verify(DIGEST, of_encoding(padded(INFO + DIGEST)))


@pytest.mark.parametrize("encoded", FORGED.values(), ids=FORGED)
def test_an_encoding_that_lax_verifiers_have_taken_is_refused(encoded):
    number = int.from_bytes(encoded, "big")
    assert len(encoded) == SIZE
    if number < MODULUS:
        assert pow(int.from_bytes(of_encoding(encoded), "big"), 65537, MODULUS) == number
    assert not PUBLIC.verify(DIGEST, of_encoding(encoded))


def test_the_cube_root_forgery_has_no_key_to_be_used_with():
    """With the exponent 3 its attacker needs no private key; such a public key is refused before any signature."""
    with pytest.raises(ValueError, match="exponent 65537"):
        PublicKey.from_der(der(rsa.generate_private_key(3, 2048)))


# The key


def changed(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


KEYS: dict[str, bytes] = {
    "nothing": b"",
    "a key of 1024 bits": der(rsa.generate_private_key(65537, 1024)),
    "a key of 2056 bits": der(rsa.generate_private_key(65537, 2056)),
    "an elliptic curve": der(ec.generate_private_key(ec.SECP256R1())),
    "an Edwards curve": der(ed25519.Ed25519PrivateKey.generate()),
    "a byte too many": der(KEY) + b"\0",
    "a modulus of fewer bits": changed(der(KEY), 33, 0x7F),
    "an even modulus": changed(der(KEY), 33 + SIZE - 1, 0),
    "an exponent of 1": changed(der(KEY), len(der(KEY)) - 1, 0).replace(b"\x02\x03\x01\x00\x00", b"\x02\x03\x00\x00\x01"),
}


@pytest.mark.parametrize("data", KEYS.values(), ids=KEYS)
def test_what_is_no_such_key_is_refused(data):
    with pytest.raises(ValueError, match="SubjectPublicKeyInfo"):
        PublicKey.from_der(data)


@given(st.integers(0, 293))
def test_a_key_that_was_cut_is_refused(length):
    with pytest.raises(ValueError, match="SubjectPublicKeyInfo"):
        PublicKey.from_der(der(KEY)[:length])


@given(st.sampled_from([*range(33), *range(33 + SIZE, 294)]), st.integers(1, 255))
def test_a_key_with_any_other_byte_around_its_modulus_is_refused(at, difference):
    with pytest.raises(ValueError, match="SubjectPublicKeyInfo"):
        PublicKey.from_der(changed(der(KEY), at, der(KEY)[at] ^ difference))


@given(st.binary(max_size=600))
def test_bytes_that_are_no_key_are_refused(data):
    with pytest.raises(ValueError, match="SubjectPublicKeyInfo"):
        PublicKey.from_der(data)


# What KMS says of it

ANSWER: dict[str, Any] = {"KeyUsage": "SIGN_VERIFY", "SigningAlgorithms": [ALGORITHM], "PublicKey": b64encode(der(KEY)).decode()}


def test_the_key_of_kms_is_taken_as_text_and_as_boto3_has_it():
    for answer in (ANSWER, {**ANSWER, "PublicKey": der(KEY)}):
        assert public_key(ARN, answer).verify(DIGEST, signature())


@pytest.mark.parametrize(
    "change",
    [
        {"KeyUsage": "ENCRYPT_DECRYPT"},
        {"KeyUsage": None},
        {"SigningAlgorithms": ["RSASSA_PSS_SHA_256"]},
        {"SigningAlgorithms": None},
        {"PublicKey": None},
        {"PublicKey": "?"},
        {"PublicKey": b64encode(der(rsa.generate_private_key(3, 2048))).decode()},
    ],
    ids=["usage", "no usage", "algorithm", "no algorithm", "no key", "no base64", "exponent 3"],  # keys are random, and workers must agree
)
def test_a_key_for_something_else_is_refused_with_what_to_do(change):
    with pytest.raises(SigningKeyUnusable, match=f"{ARN}.*expected an RSA key.*deploy the Store stack"):
        public_key(ARN, {**ANSWER, **change})


# An alias

SIGNER = LocalSigner()
SHA = DIGEST.hex()


def alias(signed: Any, sha256: Any = SHA) -> Alias:
    model = File(path="models/fruit/versions/20261120T174100Z-1a2b3c4d/model.onnx", size=1, sha256="0")
    return Alias(
        name="fruit", alias="production", version="20261120T174100Z-1a2b3c4d", manifest_sha256=sha256, model=model, signature=signed
    )


def test_an_alias_with_the_keys_signature_passes_and_the_key_is_fetched_once():
    kms = LocalSigner()
    key = SigningKey(ARN, kms.call)
    for _ in range(3):
        key.prefetch()
        key.check(alias(SIGNER.sign(SHA)))

    assert kms.calls == [("TrentService.GetPublicKey", {"KeyId": ARN})]


def test_the_key_is_fetched_without_a_prefetch_too():
    SigningKey(ARN, LocalSigner().call).check(alias(SIGNER.sign(SHA)))


def test_the_key_comes_over_a_connection_that_was_opened_ahead_which_is_let_go_then():
    answer = json.dumps(LocalSigner().call("", {})).encode()
    with scripted(response(200, answer), keep=True) as kms:
        connection = KeptConnection()
        connection.open(kms.url.removeprefix("http://"), secure=False)
        environ = {"AWS_ENDPOINT_URL_KMS": kms.url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
        key = SigningKey.from_environ(ARN, environ, remaining=lambda: 20.0, connection=connection)
        for _ in range(2):
            key.check(alias(SIGNER.sign(SHA)))
        assert kms.connections == 1
        assert not connection.idle


def test_an_alias_without_a_signature_is_refused_before_any_call():
    kms = LocalSigner()
    with pytest.raises(UnverifiedModel, match=f"aliases/production.json .* found no signature, expected one by {ARN}.*modelctl promote"):
        SigningKey(ARN, kms.call).check(alias(None))
    assert kms.calls == []


@pytest.mark.parametrize(
    "signed",
    ["", "?", "ü", "AAAA", SIGNER.sign(SHA)[:-4], SIGNER.sign(SHA) + "\n", LocalSigner(1).sign(SHA), SIGNER.sign("00" * 32), 5, [], {}],
    ids=["nothing", "no base64", "no ASCII", "short", "cut", "a line", "another key's", "of another digest", "number", "list", "object"],
)
def test_an_alias_with_anything_else_in_its_place_is_refused(signed):
    with pytest.raises(UnverifiedModel, match="a signature that does not fit"):
        SigningKey(ARN, SIGNER.call).check(alias(signed))


@pytest.mark.parametrize("sha256", ["", "00", "xyz", SHA[:-2], "ü" * 64])
def test_an_alias_whose_digest_is_none_is_refused(sha256):
    with pytest.raises(UnverifiedModel, match="a signature that does not fit"):
        SigningKey(ARN, SIGNER.call).check(alias(SIGNER.sign(SHA), sha256))


def test_without_an_answer_of_kms_nothing_passes_and_the_next_attempt_asks_again():
    kms = LocalSigner()
    kms.down = "no route to host"
    key = SigningKey(ARN, kms.call)
    key.prefetch()
    with pytest.raises(ServiceUnavailable, match="no route to host"):
        key.check(alias(SIGNER.sign(SHA)))

    kms.down = None
    key.prefetch()
    key.check(alias(SIGNER.sign(SHA)))
