"""Our hashes are hashlib's and hmac's."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelserve import _digest


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_a_keyed_hash_is_the_standard_librarys(key: bytes, message: bytes):
    assert _digest.hmac(key, message) == hmac.digest(key, message, "sha256")


@pytest.mark.parametrize("size", [0, 2**20, 2**20 + 1])
def test_a_hash_is_the_same_whoever_makes_it(size: int):
    digest = _digest.hasher(size)
    digest.update(bytes(size))

    assert digest.hexdigest() == hashlib.sha256(bytes(size)).hexdigest()
