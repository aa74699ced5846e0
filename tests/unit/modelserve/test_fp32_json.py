"""FP32 as JSON in a process that has no NumPy, as the function's image has none, beside what NumPy's arrays are written as."""

import json
import subprocess
import sys
import threading
from array import array
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelserve
from modelserve import _fp32_json

LIBRARY = Path(modelserve.__file__).parents[1]
WITHOUT_NUMPY = """
import json, sys
sys.path.insert(0, sys.argv[1])
sys.modules.update(dict.fromkeys(sys.argv[2].split()))  # as if it were not installed
import orjson
orjson.dumps({"an": ["answer", (1, 2), 0.5, orjson.Fragment(b"[]")]}, option=orjson.OPT_SERIALIZE_NUMPY)
from modelserve import _fp32_json
shown = _fp32_json.shower()
print(json.dumps([sys.modules.get("numpy") is None, getattr(shown, "func", shown).__name__]))
for line in sys.stdin:
    values = [shown(bytes.fromhex(each), index) for index, each in enumerate(line.split(","))]
    print(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY).decode())
"""


def without_numpy(answers: list[list[bytes]]) -> tuple[str, list[str]]:
    """The name of what shows the outputs of each answer, in turn, and how they are written."""
    line = [sys.executable, "-c", WITHOUT_NUMPY, str(LIBRARY), "numpy"]
    sent = "".join(f"{','.join(each.hex() for each in outputs)}\n" for outputs in answers)
    done = subprocess.run(line, input=sent, capture_output=True, text=True, check=True)
    head, *written = done.stdout.splitlines()
    hidden, name = json.loads(head)
    assert hidden
    return name, written


def of_numpy(buffer: bytes) -> str:
    return orjson.dumps(np.frombuffer(buffer, "<f4"), option=orjson.OPT_SERIALIZE_NUMPY).decode()


def test_without_numpy_every_number_is_written_as_numpys_are():
    """Any bits, NaN and infinities among them; buffers larger than the memory that is kept, and smaller ones after them."""
    drawn = np.random.default_rng(1)
    odd = array("f", [0.0, -0.0, 0.1, 0.3, 1.0, 16777216.0, 1e-45, 3.4028235e38, 0.000977, float("nan"), float("inf")]).tobytes()
    bits = [drawn.integers(0, 2**32, count, dtype="<u4").tobytes() for count in (1, 16384, 16385, 3)]
    near = drawn.random(500, dtype="f4").tobytes()
    answers = [[odd], *([each] for each in bits), [b""], [near], [odd, *bits, near, odd]]

    name, written = without_numpy(answers)

    assert name == "_held"
    assert written == [f"[{','.join(map(of_numpy, outputs))}]" for outputs in answers]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_with_numpy_it_is_shown_as_numpys(values: list[float]):
    buffer = array("f", values)
    assert orjson.dumps(_fp32_json.shower()(buffer, 0), option=orjson.OPT_SERIALIZE_NUMPY).decode() == of_numpy(buffer.tobytes())


@given(st.lists(st.floats(2**-9, 2**40, width=32)))
def test_with_an_orjson_that_takes_no_stand_in_python_shows_the_same_numbers(values: list[float]):
    buffer = array("f", values)
    assert array("f", _fp32_json._in_python(buffer, 0)) == buffer


def test_memory_that_is_written_to_is_nobody_elses_meanwhile():
    """As when another thread's turn comes before orjson has read it."""
    kept, values = _fp32_json._Kept(), array("f", [0.5])
    mine = [_fp32_json._held(kept, values, index) for index in range(_fp32_json._KEPT + 2)]
    theirs: list[_fp32_json._Singles] = []
    thread = threading.Thread(target=lambda: theirs.append(_fp32_json._held(kept, values, 0)))
    thread.start()
    thread.join()

    assert len(set(map(id, [*mine, *theirs]))) == _fp32_json._KEPT + 3
    assert [_fp32_json._held(kept, values, index) for index in range(_fp32_json._KEPT)] == mine[: _fp32_json._KEPT]


def test_an_orjson_that_looks_for_more_is_told_from_one_that_does_not(monkeypatch: pytest.MonkeyPatch):
    """Here it knows NumPy's own array, and so not the stand-in."""
    of_numpy(b"")
    monkeypatch.delitem(sys.modules, "numpy")
    assert not _fp32_json._is_known(_fp32_json._Kept())
    assert "numpy" not in sys.modules
