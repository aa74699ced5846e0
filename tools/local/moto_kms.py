"""Keys that sign: moto 5.2.5 makes every key of a template symmetric, and takes every message for one to hash, a digest too."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from moto.kms.models import Key
from moto.kms.responses import KmsResponse
from moto.kms.utils import generate_private_key

__all__ = ["sign_as_kms"]

_create = Key.create_from_cloudformation_json
_sign = KmsResponse.sign


def sign_as_kms() -> None:
    """Teaches it to this process; once more changes nothing."""
    Key.create_from_cloudformation_json = classmethod(_create_as_asked)  # type: ignore[assignment, method-assign]
    KmsResponse.sign = _sign_as_asked  # type: ignore[method-assign]


def _create_as_asked(_: type[Key], resource_name: str, cloudformation_json: Any, *args: Any, **kwargs: Any) -> Key:
    properties = cloudformation_json["Properties"]
    key = _create(resource_name, cloudformation_json, *args, **kwargs)
    if "KeySpec" in properties:
        key.key_usage = properties.get("KeyUsage", key.key_usage)
        key.key_spec = properties["KeySpec"]
        key.private_key = generate_private_key(key.key_spec)
    return key


def _sign_as_asked(self: KmsResponse) -> str:
    answer = _sign(self)  # checks the key, and what is asked of it
    if self._get_param("MessageType") != "DIGEST" or self._get_param("SigningAlgorithm") != "RSASSA_PKCS1_V1_5_SHA_256":
        return answer
    key: Any = self.kms_backend.describe_key(self._get_param("KeyId")).private_key
    signature = key.private_key.sign(self._get_param("Message"), PKCS1v15(), Prehashed(SHA256()))
    return json.dumps({**json.loads(answer), "Signature": b64encode(signature).decode()})
