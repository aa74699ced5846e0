"""Fixed documents: nesting, numbers, keys, encodings, every name in every place."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

from tests.hostile.case import Case, Outputs
from tests.hostile.draft import Draft, valid
from tests.hostile.strings import TEXTS
from tests.hostile.targets import NUMBERS, PAIR, SPREAD, WORDS

__all__ = ["texts"]

_MILLION = 10**6


def texts() -> Iterator[Case]:
    """All of them, each with what is right to answer."""
    yield from _not_objects()
    yield from _nested()
    yield from _numbers()
    yield from _keys()
    yield from _encodings()
    yield from _names()
    yield from _bombs()
    yield from _answers()
    yield from _truncated()


def _text(name: str, body: bytes, status: int = 400, **changes: Any) -> Case:
    return valid(NUMBERS).case("text", name, status, body=body, **changes)


def _packed(case: Case) -> Case:
    """The same request, small enough for the gateway."""
    return Case(**{**vars(case), "body": gzip.compress(case.body, 1, mtime=0), "headers": (*case.headers, ("Content-Encoding", "gzip"))})


def _with(key: bytes, value: bytes, draft: Draft | None = None) -> bytes:
    """A valid request with one more key, whose value is written as it is."""
    return b'{"' + key + b'":' + value + b"," + (draft or valid(NUMBERS)).text()[1:]


def _data(value: bytes) -> bytes:
    """A request of one row whose first number is written as `value`."""
    return b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[' + value + b",1,2]}]}"


def _not_objects() -> Iterator[Case]:
    for body in (b"", b"null", b"true", b"7", b'"x"', b"[]", b"{}", b"{", b"}", b'{"inputs"', b"\0", b" ", b"\xff\xfe\x00", b"inputs=1"):
        yield _text(f"nothing but {body!r}", body)
    yield _text("a comment", b"// hello\n" + valid(NUMBERS).text())
    yield _text("a trailing comma", valid(NUMBERS).text()[:-1] + b",}")
    yield _text("single quotes", valid(NUMBERS).text().replace(b'"', b"'"))
    yield _text("two documents", valid(NUMBERS).text() * 2)


def _nested() -> Iterator[Case]:
    for depth in (101, 5_000, _MILLION):
        lists, objects = b"[" * depth + b"]" * depth, b'{"a":' * depth + b"0" + b"}" * depth
        # orjson reads 1,024 levels; what nobody asked for is ignored.
        yield _text(f"{depth:,} lists aside", _with(b"aside", lists), 200 if depth < 1000 else 400)
        yield _text(
            f"{depth:,} objects aside", _packed(_text("", _with(b"aside", objects))).body, 200 if depth < 1000 else 400, headers=_GZIP
        )
        yield _text(f"{depth:,} lists aside and NaN", _with(b"aside", b"[NaN," + lists + b"]"), 200 if depth < 1000 else 400)
        yield _text(f"{depth:,} lists as data", _data(lists))
        yield _text(f"{depth:,} lists as shape", _data(b"0").replace(b"[1,3]", lists))
        yield _text(f"{depth:,} lists as inputs", b'{"inputs":' + lists + b"}")
        yield _text(f"{depth:,} lists without an end", lists[:depth])
        yield _text(f"{depth:,} objects without an end", (b'{"a":' * depth)[: 4 * 2**20])
        yield _text(f"{depth:,} lists as an id", _with(b"id", lists))


_GZIP = (("Content-Encoding", "gzip"),)


def _numbers() -> Iterator[Case]:
    digits = b"9" * 5_000
    for name, number in {
        "1e999": b"1e999", "-1e999": b"-1e999", "5,000 digits": digits, "5,000 digits below zero": b"-" + digits, "a zero before": b"01",
        "hexadecimal": b"0x1", "a plus": b"+1", "no digits": b"-", "a point": b"1.", "an exponent": b"1e", "1e39": b"1e39", "inf": b"inf",
        "nan": b"nan", "-NaN": b"-NaN", "an underscore": b"1_0", "Arabic digits": "\u0661".encode(), "null": b"null", "true": b"true",
        "a million digits": b"1" * _MILLION,
    }.items():  # fmt: skip
        yield _text(f"{name} as data", _data(number))
        yield _text(f"{name} as data, and NaN", _data(number + b",NaN").replace(b",1,2]", b",2]"))
    for name, number in {"1e999": b"1e999", "5,000 digits": digits}.items():
        yield _text(f"{name} as a size", _data(b"0").replace(b"[1,3]", b"[" + number + b",3]"))
        yield _text(f"{name} aside", _with(b"aside", number))
        yield _text(f"{name} aside, and NaN", _with(b"aside", b"[NaN," + number + b"]"))
    for token in (b"NaN", b"Infinity", b"-Infinity"):
        yield _text(f"{token.decode()} that JSON would have to carry back", _data(token))
    yield _text("NaN aside", _with(b"aside", b"NaN"), 200)
    yield _text("1e-999", _data(b"1e-999"), 200, outputs=valid(NUMBERS).outputs)
    yield _text("5,000 decimals", _data(b"0." + b"0" * 5_000), 200, outputs=valid(NUMBERS).outputs)


def _keys() -> Iterator[Case]:
    million = b"{" + b",".join(b'"k%d":0' % number for number in range(_MILLION)) + b"}"
    yield _packed(_text("a million keys aside", _with(b"aside", million), 200))
    yield _packed(_text("a million keys as an input", b'{"inputs":[' + million + b"]}"))
    yield _packed(_text("one key a million times", b"{" + b'"a":0,' * _MILLION + valid(NUMBERS).text()[1:], 200))
    yield _packed(_text("a million inputs", b'{"inputs":[' + b",".join([b"{}"] * _MILLION) + b"]}"))
    outputs = b",".join(b'{"name":"y%d"}' % number for number in range(_MILLION // 5))
    yield _packed(_text("200,000 outputs", _with(b"outputs", b"[" + outputs + b"]")))
    yield _packed(_text("a million sizes", _data(b"0").replace(b"[1,3]", b"[" + b"1," * _MILLION + b"1]")))
    yield _text("inputs twice, the last one wrong", valid(NUMBERS).text()[:-1] + b',"inputs":[]}')
    yield _text("inputs twice, the last one right", b'{"inputs":7,' + valid(NUMBERS).text()[1:], 200, outputs=valid(NUMBERS).outputs)
    wrong = valid(NUMBERS).text().replace(b'"name": "x"', b'"name": "x", "name": "z"')
    yield _text("a name twice", wrong)
    thousand = [{"name": f"x{number}", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]} for number in range(5_000)]
    yield _text("5,000 tensors", json.dumps({"inputs": thousand}).encode())


def _encodings() -> Iterator[Case]:
    right, nan = valid(NUMBERS).text(), _data(b"NaN")
    for name, body in (("", right), (", and NaN", nan)):
        yield _text(f"a byte order mark{name}", b"\xef\xbb\xbf" + body)
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-7", "cp037"):
            if encoding != "utf-7" or b"+" in body.decode().encode("utf-7"):
                yield _text(f"{encoding}{name}", body.decode().encode(encoding))
        yield _text(f"a lone surrogate{name}", body.replace(b'"x"', b'"\\ud800"'))
        yield _text(f"a lone surrogate aside{name}", b'{"aside":"\\udfff",' + body[1:])
        yield _text(f"half an escape{name}", body.replace(b'"x"', b'"\\u00"'))
        yield _text(f"a raw zero byte in a name{name}", body.replace(b'"x"', b'"x\0"'))
        yield _text(f"Latin-1{name}", body.replace(b'"x"', b'"\xfc"'))
        yield _text(f"a raw line break in a name{name}", body.replace(b'"x"', b'"x\r\n"'))
    yield _text("an escaped name", right.replace(b'"x"', b'"\\u0078"'), 200, outputs=valid(NUMBERS).outputs)


def _names() -> Iterator[Case]:
    for name, text in TEXTS.items():
        quoted = json.dumps(text).encode()
        for target in (NUMBERS, PAIR):
            tensor = next(iter(target.inputs)).encode()
            body = valid(target).text().replace(b'"name": "' + tensor + b'"', b'"name": ' + quoted)
            yield valid(target).case("name", f"{name} as an input", 400, body=body)
        yield _text(f"{name} as a datatype", valid(NUMBERS).text().replace(b'"FP32"', quoted))
        yield _text(f"{name} as an output", _with(b"outputs", b'[{"name":' + quoted + b"}]"))
        yield _text(f"{name} as a key", b"{" + quoted + b":0," + valid(NUMBERS).text()[1:], 200, outputs=valid(NUMBERS).outputs)
        right = valid(NUMBERS)
        right.document["id"] = text
        right.outputs = Outputs(right.outputs.datatypes, right.outputs.arrays, text)
        yield right.case("name", f"{name} as an id", 200)
        for binary in (False, True):
            yield _spoken(text).case("name", f"{name} as an element", 200, **({} if not binary else _as_binary(text)))


def _spoken(text: str) -> Draft:
    draft = valid(WORDS)
    draft.arrays["x"][0] = text
    draft.inputs[0]["data"] = [text]
    return draft


def _as_binary(text: str) -> dict[str, Any]:
    arrays = _spoken(text).arrays
    draft = Draft(WORDS, arrays, binary=True)
    return {"headers": tuple(draft.framed()), "body": draft.body()}


def _bombs() -> Iterator[Case]:
    plain = b" " * 200 * 2**20
    bomb = gzip.compress(plain, mtime=0)
    yield _text("a gzip bomb of 200 MB", bomb, 413, headers=_GZIP)
    yield _text("a deflate bomb of 200 MB", zlib.compress(plain), 413, headers=(("Content-Encoding", "deflate"),))
    yield _text("gzip in gzip", gzip.compress(gzip.compress(valid(NUMBERS).text(), mtime=0), mtime=0), headers=_GZIP)
    yield _text("a bomb in gzip", gzip.compress(bomb, mtime=0), headers=_GZIP)
    yield _text("gzip by its first bytes only", b"\x1f\x8b\x08" + b"\xff" * 40, headers=_GZIP)
    yield _text("deflate that breaks", zlib.compress(valid(NUMBERS).text())[:10] + b"\xff" * 10, headers=(("Content-Encoding", "deflate"),))
    yield _text("more than Lambda takes", b" " * 5 * 2**20, 413)
    yield _text("more than the gateway takes", b" " * 11 * 2**20, 413)
    for element in (b"[]", b"{}", b"1.5", b'""'):
        for size, status in ((20, 400), (60, 413)):
            elements = (element + b",") * (size * 2**20 // (len(element) + 1))
            yield _packed(_text(f"{size} MiB of {element.decode()}", _data(elements[:-1]), status))
    for element in (b'"\\u0001"', b'"' + b"\\u0001" * 3 * _MILLION + b'"'):
        yield _packed(_text(f"{len(element):,} bytes as a name", _data(b"0").replace(b'"x"', element)))
        yield _packed(_text(f"{len(element):,} bytes as an output", _with(b"outputs", b'[{"name":' + element + b"}]")))
        yield _packed(_text(f"{len(element):,} bytes as a datatype", _data(b"0").replace(b'"FP32"', element)))


def _answers() -> Iterator[Case]:
    """Of a model that answers with 10,000 numbers for each that it is sent; Lambda carries 6 MB of text."""
    for rows, status in ((10, 200), (200, 413), (10_000, 413)):
        for binary in (False, True):
            form = "binary" if binary else "JSON"
            yield valid(SPREAD, rows, binary_answer=binary).case("answer", f"{rows * 10_000:,} numbers in {form}", status)
    for rows, status in ((10, 200), (400, 413)):
        draft = valid(SPREAD, rows)
        draft.document["outputs"] = [{"name": "y", "parameters": {"classification": 2**31}}]
        yield draft.case("answer", f"{rows * 10_000:,} classes", status, outputs=None)


def _truncated() -> Iterator[Case]:
    """Valid requests, cut off at every byte."""
    for target in (NUMBERS, WORDS):
        for binary in (False, True):
            draft = valid(target, binary=binary)
            body, form = draft.body(), "binary" if binary else "JSON"
            for end in range(len(body)):
                yield draft.case("cut", f"{form} after {end} bytes", 400, body=body[:end])
