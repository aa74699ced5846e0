"""Bodies as clients and gateways leave them."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelserve.compression import decompress
from modelserve.errors import InvalidRequest, PayloadTooLarge

from .factories import answered_or_refused, document, error_of, post, server
from .strategies import dumped

BODY = dumped(document())
COMPRESSED = {"gzip": gzip.compress(BODY), "deflate": zlib.compress(BODY)}
PACKED = st.sampled_from(sorted(COMPRESSED))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "GZIP", " gzip "])
def test_a_compressed_request_is_answered_as_the_plain_one(encoding):
    answering = server()

    assert post(answering, COMPRESSED[encoding.strip().lower()], content_encoding=encoding).body == post(answering, BODY).body


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity", ""])
def test_a_body_that_was_decoded_on_the_way_is_taken_as_it_is(encoding):
    assert decompress(BODY, encoding, limit=1000) == BODY


def test_a_compressed_binary_request_keeps_its_header_length():
    header = dumped({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": 12}}]})

    response = post(server(), gzip.compress(header + bytes(12)), header_length=len(header), content_encoding="gzip")

    assert response.status == 200


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip"])
def test_another_encoding_is_refused_by_name(encoding):
    assert f"Content-Encoding {encoding!r} can't be read; send gzip, deflate or none" in error_of(
        post(server(), BODY, content_encoding=encoding)
    )


@given(PACKED, st.data())
def test_a_compressed_body_cut_short_is_refused(encoding, data):
    body = COMPRESSED[encoding]
    end = data.draw(st.integers(0, len(body) - 1))

    says = error_of(post(server(), body[:end], content_encoding=encoding))

    assert "ends too early" in says or "not JSON" in says  # nothing of its magic is left


@given(PACKED, st.binary(min_size=1, max_size=8))
def test_bytes_behind_the_compressed_body_are_refused(encoding, rest):
    with pytest.raises(InvalidRequest, match=f"{len(rest)} bytes follow"):
        decompress(COMPRESSED[encoding] + rest, encoding, limit=1000)


@given(PACKED, st.data())
def test_a_flipped_byte_is_never_an_unexpected_error(encoding, data):
    body = bytearray(COMPRESSED[encoding])
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))

    answered_or_refused(post(server(), bytes(body), content_encoding=encoding))


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_a_bomb_is_refused_before_it_is_made(compress):
    bomb = compress(bytes(2**26))  # 64 MiB from 64 KiB
    tracemalloc.start()
    with pytest.raises(PayloadTooLarge, match="the decompressed body is larger than 1,000,000 bytes; send fewer rows"):
        decompress(bomb, "gzip", limit=1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4_000_000
    assert error_of(post(server(), bomb, content_encoding="gzip"), 413)


def test_a_body_of_exactly_the_limit_passes():
    body = bytes(1000)

    assert decompress(gzip.compress(body), "gzip", limit=1000) == body
    with pytest.raises(PayloadTooLarge):
        decompress(gzip.compress(body + b"x"), "gzip", limit=1000)
