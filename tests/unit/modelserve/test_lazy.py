"""A module that waits for its first use is the same module for everybody then."""

import subprocess
import sys
from pathlib import Path

from modelserve._lazy import postpone

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
from modelserve._lazy import postpone
postpone("inspect")
import dataclasses, orjson
assert "ast" not in sys.modules, "inspect was imported"
import inspect as again
assert "ast" not in sys.modules, "a second import is no use"

@dataclasses.dataclass
class Point:
    x: int

assert orjson.dumps(Point(1)) == b'{"x":1}'
assert str(inspect.signature(Point)) == "(x: int) -> None" if (inspect := again) else False
assert sys.modules["inspect"] is dataclasses.inspect is again
assert again.__file__.endswith("inspect.py")
try:
    again.nothing
except AttributeError as error:
    print(error)
"""


def test_what_is_postponed_is_imported_at_its_first_use_and_shared():
    environ = {"PYTHONPATH": str(ROOT / "layers" / "modelserve" / "python")}
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, env=environ)

    assert (ran.stdout.strip(), ran.stderr) == ("module 'inspect' has no attribute 'nothing'", "")


def test_what_is_imported_or_nowhere_is_left_alone():
    before = sys.modules["inspect"]
    postpone("inspect")
    postpone("no_such_module")

    assert sys.modules["inspect"] is before
    assert "no_such_module" not in sys.modules
