"""How AWS starts a function's process: by its own script, or by one of the function's that is given that."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["BOOTSTRAP", "PROGRAM", "arguments"]

BOOTSTRAP = Path(__file__).parent / "base" / "bootstrap.py"
"""Stands in for the script that AWS has in /var/runtime; it asks `_HANDLER` what to serve."""
PROGRAM = """
import sys
sys.argv = sys.argv[1:]
with open(sys.argv[0], "rb") as script:
    exec(compile(script.read(), sys.argv[0], "exec"))
"""
"""What `python -c` runs for a script and its arguments, without what it takes to import `runpy`."""


def arguments(wrapper: Path | None) -> tuple[str, ...]:
    """Of `PROGRAM`: AWS's script, by the function's own wrapper (AWS_LAMBDA_EXEC_WRAPPER) where it has one."""
    return (str(wrapper), sys.executable, str(BOOTSTRAP)) if wrapper else (str(BOOTSTRAP),)
