"""Where the real Triton runs: an environment of its own under build/triton, made once for each lock.

The server comes as a wheel, without Docker; its Python backend is built for certain Pythons and loads their shared library.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from tools.local.packages import PROJECT

__all__ = ["Environment", "Unavailable"]

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
CACHE = PROJECT / "build" / "triton"
CONFINE = ("unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child")
"""A network, a /dev/shm and processes of its own; needs no root where user namespaces are allowed."""
_PYTHONS = ">=3.11,<3.13"
"""What both the backend in the wheel and the locked onnxruntime and numpy run on."""
_MADE = "made.json"
_LIBRARY = "import os, sysconfig; print(os.path.join(sysconfig.get_config_var('LIBDIR'), sysconfig.get_config_var('INSTSONAME') or ''))"


class Unavailable(Exception):
    """A real Triton can't run here; the message says what is missing."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"the real Triton can't run here: {found}; expected {expected}")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One that can be started from."""

    folder: Path
    version: str
    """Of its Python, as in 3.11."""
    library: Path
    """The folder of that Python's shared library."""

    @classmethod
    def made(cls) -> Environment | None:
        """The environment that an earlier run made from the same lock."""
        if not (_folder() / _MADE).exists() or _lacks():
            return None
        found = json.loads((_folder() / _MADE).read_text("utf-8"))
        made = cls(folder=_folder(), version=found["version"], library=Path(found["library"]))
        return made if (made.folder / "bin" / "python").exists() else None  # or its interpreter is gone

    @classmethod
    def make(cls) -> Environment:
        """Made if it has to be; 270 MB. Raises `Unavailable`."""
        if lacks := _lacks():
            raise lacks
        if (made := cls.made()) is not None:
            return made
        version, interpreter, library = _interpreter()
        _uv("venv", "--clear", "--python", str(interpreter), str(_folder()))
        install = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirement", str(REQUIREMENTS)]
        _uv("pip", "install", "--python", str(_folder() / "bin" / "python"), *install)
        new = cls(folder=_folder(), version=version, library=library)
        shutil.copy(new.triton / "python_backend_stubs" / version / "triton_python_backend_stub", new.triton / "backends" / "python")
        (_folder() / _MADE).write_text(json.dumps({"version": version, "library": str(library)}), "utf-8")
        return new

    @property
    def packages(self) -> Path:
        """Its site-packages."""
        return self.folder / "lib" / f"python{self.version}" / "site-packages"

    @property
    def triton(self) -> Path:
        """The wheel's server and backends."""
        return self.packages / "pytriton" / "tritonserver"

    def variables(self) -> dict[str, str]:
        """What the server and the backend's processes need to find their libraries, and nothing of the caller's."""
        return {
            "LANG": "C.UTF-8",
            "LD_LIBRARY_PATH": f"{self.packages / 'nvidia_pytriton.libs'}:{self.library}",
            "PATH": f"{self.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        }


def _folder() -> Path:
    return CACHE / hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]


def _lacks() -> Unavailable | None:
    found = f"{platform.system()} on {platform.machine()}"
    if found != "Linux on x86_64":
        return Unavailable(found, "Linux on x86_64, for which the wheel is built")
    if shutil.which(CONFINE[0]) is None or subprocess.run([*CONFINE, "true"], capture_output=True, check=False).returncode:
        allow = "sysctl kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu"
        return Unavailable(
            f"`{' '.join(CONFINE)}` fails", f"user namespaces ({allow}): Triton's SageMaker front end listens on every address"
        )
    return None


def _interpreter() -> tuple[str, Path, Path]:
    """Version, program and the folder of the shared library."""
    answer = _uv("python", "list", "--only-installed", "--output-format", "json", _PYTHONS)
    for each in json.loads(answer):
        done = subprocess.run([each["path"], "-I", "-c", _LIBRARY], capture_output=True, text=True, check=False)
        library = Path(done.stdout.strip())
        if done.returncode == 0 and library.name.startswith("libpython") and library.is_file() and ".so" in library.suffixes:
            parts = each["version_parts"]
            return f"{parts['major']}.{parts['minor']}", Path(each["path"]), library.parent
    raise Unavailable(f"no Python {_PYTHONS} with a shared library", "one that `uv python list` shows; `uv python install 3.12` brings it")


def _uv(*arguments: str) -> str:
    clean = {key: value for key, value in os.environ.items() if key not in {"VIRTUAL_ENV", "UV_PYTHON"}}
    done = subprocess.run([find_uv_bin(), *arguments], env=clean, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"uv {' '.join(arguments)}: {done.stderr.strip()}", "an environment from tests/triton/requirements.txt")
    return done.stdout
