"""Makes each peer's environment: its pinned packages, held against their hashes, on the interpreter that runs this."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from uv import find_uv_bin

from tools.bench.measures import Unavailable
from tools.local.packages import PROJECT

__all__ = ["ENVIRONMENTS", "PEERS", "environment"]

PEERS = Path(__file__).parent
ENVIRONMENTS = PROJECT / "build" / "peers"


def environment(folder: str) -> Path:
    """The environment of `PEERS/folder`, made once for its requirements and this interpreter.

    Raises `Unavailable`, as without a network.
    """
    requirements = PEERS / folder / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    made, stamp = ENVIRONMENTS / folder, ENVIRONMENTS / f"{folder}.sha256"
    if not stamp.exists() or stamp.read_text("ascii") != digest:
        stamp.unlink(missing_ok=True)
        _uv("venv", "--clear", "--python", sys.executable, str(made))
        # Compiled, as an image would be: a start that compiles its packages is nobody's cold start.
        options = "--require-hashes", "--only-binary", ":all:", "--compile-bytecode"
        _uv("pip", "install", "--python", str(made / "bin" / "python"), *options, "--requirements", str(requirements))
        stamp.write_text(digest, "ascii")
    return made


def _uv(*arguments: str) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in {"UV_PYTHON", "VIRTUAL_ENV"}}
    done = subprocess.run([find_uv_bin(), "--quiet", *arguments], env=clean, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"uv {' '.join(arguments)} failed: {done.stderr.strip()}")
