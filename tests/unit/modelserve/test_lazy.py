"""A module that waits for its first use is whole then, for those who imported it before as for those who do later."""

import subprocess
import sys
from pathlib import Path

import pytest

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
assert str(again.signature(Point)) == "(x: int) -> None"
assert dataclasses.inspect.Signature is again.Signature is sys.modules["inspect"].Signature
import inspect
assert inspect is sys.modules["inspect"] is not again
assert again.__spec__ is None and inspect.__spec__.name == "inspect"
try:
    again.nothing
except AttributeError as error:
    print(error)
"""


def test_what_is_postponed_is_imported_at_its_first_use_and_shared():
    environ = {"PYTHONPATH": str(ROOT / "layers" / "modelserve" / "python")}
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, env=environ)

    assert (ran.stdout.strip(), ran.stderr) == ("module 'inspect' has no attribute 'nothing'", "")


def test_what_is_imported_already_is_left_alone():
    before = sys.modules["inspect"]
    postpone("inspect")

    assert sys.modules["inspect"] is before


def test_a_module_that_is_nowhere_says_so_at_its_first_use(monkeypatch):
    monkeypatch.delitem(sys.modules, "no_such_module", raising=False)
    postpone("no_such_module")
    module = sys.modules["no_such_module"]

    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        _ = module.anything
    assert "no_such_module" not in sys.modules
