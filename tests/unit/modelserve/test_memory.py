"""A process held below its function's memory, in one of its own: the bound can't be taken off again."""

import subprocess
import sys

import pytest

_ASK = """
import resource
from modelserve.memory import hold

hold({megabytes})
print(resource.getrlimit(resource.RLIMIT_DATA)[0])
try:
    bytearray(2**29)
except MemoryError:
    print("refused")
"""


def held(megabytes: int) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", _ASK.format(megabytes=megabytes)], capture_output=True, text=True, check=True
    ).stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to its memory")
def test_what_does_not_fit_a_functions_memory_is_refused():
    assert held(512) == [str(int(512 * 2**20 * 0.9)), "refused"]


def test_nothing_is_bounded_where_no_function_is():
    assert held(0) == ["-1"]
