"""What is done to the bytes of a valid request: cut, dirtied, shifted, counted wrongly."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

from hypothesis import strategies as st

from tests.hostile.case import Case
from tests.hostile.draft import HEADER_LENGTH, Draft, drafts
from tests.hostile.targets import HALVES, KINDS, NUMBERS, PAIR, TARGETS, WORDS

__all__ = ["wire_cases"]

_FIXED = (NUMBERS, PAIR)
"""Targets of few bytes without text, where every byte counts."""
_CONTROL = [bytes([code]) for code in range(32) if code not in b"\t\n\r"]


@st.composite
def wire_cases(draw: st.DrawFn) -> Case:
    """A valid request with one change to its bytes."""
    make = draw(st.sampled_from(_CHANGES))
    case: Case = make(draw)
    return case


def _case(draft: Draft, name: str, body: bytes, status: int = 400, *headers: tuple[str, str]) -> Case:
    return draft.case("bytes", name, status, body=body, headers=(*draft.framed(), *headers))


def _cut(draw: st.DrawFn) -> Case:
    draft = draw(drafts(TARGETS))
    body = draft.body()
    return _case(draft, "cut off", body[: draw(st.integers(0, len(body) - 1))])


def _dirtied(draw: st.DrawFn) -> Case:
    """No JSON has these bytes, within a string or outside of one."""
    draft = draw(drafts(TARGETS, binary=False))
    text = draft.text()
    at = draw(st.integers(0, len(text)))
    dirt = draw(st.sampled_from([*_CONTROL, b"\xff", b"\xfe", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"]))
    return _case(draft, "a byte that JSON never has", text[:at] + dirt + text[at:])


def _behind(draw: st.DrawFn) -> Case:
    draft = draw(drafts(TARGETS))
    return _case(draft, "something behind", draft.body() + draw(st.binary(min_size=1, max_size=9).filter(lambda rest: rest.strip() != b"")))


def _inserted(draw: st.DrawFn) -> Case:
    """Behind the document, which stays whole."""
    draft = draw(drafts(TARGETS, binary=True))
    rest = draw(st.binary(min_size=1, max_size=9))
    return _case(draft, "bytes between document and tensors", draft.text() + rest + draft.tail)


def _miscounted(draw: st.DrawFn) -> Case:
    """A length that ends within the document, so that it is none, or behind the body."""
    draft = draw(drafts(TARGETS, binary=True))
    right = len(draft.text())
    length = draw(st.integers(1, right - 1) | st.integers(min_value=len(draft.body()) + 1))
    return draft.case("bytes", "a wrong header length", 400, headers=((HEADER_LENGTH, str(length)),))


def _misspelt(draw: st.DrawFn) -> Case:
    draft = draw(drafts(TARGETS, binary=True))
    right = str(len(draft.text()))
    texts = [
        "-1",
        "-0",
        f"+{right}",
        f"{right}.0",
        "1e2",
        "0x10",
        "many",
        "null",
        "",
        "1,2",
        f"{right}, {right}",
        "\u00b2",
        "9" * 30,
        "1_0",
    ]
    return draft.case("bytes", "a header length that is none", 400, headers=((HEADER_LENGTH, draw(st.sampled_from(texts))),))


def _overrun(draw: st.DrawFn) -> Case:
    draft = draw(drafts((WORDS,), binary=True))
    length = int.from_bytes(draft.tail[:4], "little")
    wrong = draw(st.sampled_from([length + 1, 2**31 - 1, 2**31, 2**32 - 1, len(draft.tail)]))
    shortened = len(draft.arrays["x"]) == 1  # a longer first element may end where the second did
    tail = wrong.to_bytes(4, "little") + draft.tail[4:]
    return _case(draft, "a text that runs past the end", draft.text() + tail, 400) if shortened or wrong > length + 1 else _cut(draw)


def _no_text(draw: st.DrawFn) -> Case:
    draft = draw(drafts((WORDS,), binary=True))
    element = draw(st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80", b"a\xf5b"]))
    draft.tail = len(element).to_bytes(4, "little") + element
    draft.inputs[0].update(shape=[1], parameters={"binary_data_size": len(draft.tail)})
    return draft.case("bytes", "bytes that are no text", 400)


def _another_count(draw: st.DrawFn) -> Case:
    """Whole texts, one more or less than the shape says."""
    draft = draw(drafts((WORDS,), binary=True))
    draft.inputs[0]["shape"][0] += draw(st.sampled_from([1, 1000, 2**62]))
    return draft.case("bytes", "fewer texts than rows", 400)


def _half_a_row(draw: st.DrawFn) -> Case:
    draft = draw(drafts(_FIXED[:1], binary=True))
    size = draw(st.integers(0, 200).filter(lambda size: size % 12 or not size))
    return draft.case("bytes", "a raw body of half a row", 400, headers=((HEADER_LENGTH, "0"),), body=b"\0" * size)


def _raw_of_several(draw: st.DrawFn) -> Case:
    draft = draw(drafts((PAIR, KINDS, HALVES), binary=True))
    return draft.case("bytes", "a raw body of several inputs", 400, headers=((HEADER_LENGTH, "0"),), body=draft.tail)


def _packed_short(draw: st.DrawFn) -> Case:
    draft = draw(drafts(TARGETS))
    encoding, packed = draw(st.sampled_from([("gzip", gzip.compress(draft.body(), mtime=0)), ("deflate", zlib.compress(draft.body()))]))
    end = draw(st.integers(3, len(packed) - 1))
    return _case(draft, "compressed and cut off", packed[:end], 400, ("Content-Encoding", encoding))


def _packed_behind(draw: st.DrawFn) -> Case:
    draft = draw(drafts(TARGETS))
    rest = draw(st.sampled_from([b"\0", b"x", gzip.compress(draft.body(), mtime=0)]))
    return _case(draft, "compressed and more", gzip.compress(draft.body(), mtime=0) + rest, 400, ("Content-Encoding", "gzip"))


def _packed_right(draw: st.DrawFn) -> Case:
    draft = draw(drafts(TARGETS))
    plain = draft.body()
    packed = {"gzip": gzip.compress(plain, mtime=0), "deflate": zlib.compress(plain), "identity": plain}
    encoding = draw(st.sampled_from(["gzip", "GZIP", " deflate ", "deflate", "identity"]))
    return _case(draft, "compressed", packed[encoding.strip().lower()], 200, ("Content-Encoding", encoding))


def _unknown_encoding(draw: st.DrawFn) -> Case:
    draft = draw(drafts(TARGETS))
    encoding = draw(st.sampled_from(["br", "zstd", "gzip, gzip", "compress", "x" * 8000, "gzip;q=1", "\u00fc", "*", "null"]))
    return _case(draft, "an encoding that nobody reads", draft.body(), 400, ("Content-Encoding", encoding))


def _any_type(draw: st.DrawFn) -> Case:
    draft = draw(drafts(TARGETS))
    kinds = ["text/html", "multipart/form-data", "x" * 4000, "application/xml; charset=utf-16", "\u00fc", ";;", "application/json\tx"]
    return _case(draft, "any content type", draft.body(), 200, ("Content-Type", draw(st.sampled_from(kinds))))


_CHANGES: tuple[Callable[[st.DrawFn], Case], ...] = (
    _cut, _dirtied, _behind, _inserted, _miscounted, _misspelt, _overrun, _no_text, _another_count,
    _half_a_row, _raw_of_several, _packed_short, _packed_behind, _packed_right, _unknown_encoding, _any_type,
)  # fmt: skip
