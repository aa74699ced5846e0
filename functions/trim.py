"""Leaves of the packages what an image uses: of ONNX Runtime's its library alone, or its Python binding; run after pip."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["main"]

_LIBRARY = "libonnxruntime.so.*"
_UNUSED = ("datasets", "quantization", "tools", "transformers")
"""Rooms of the binding's package that no function imports."""
_LICENCES = ("LICENSE", "ThirdPartyNotices.txt")
_NEVER_RUN = ("*.pyi", "**/tests/**/*", "backports/zstd/_cffi/*", "backports/zstd/tarfile.py", "backports/zstd/zipfile/*")
"""What packages carry for people who work on them, and for other formats than a function reads."""


def main(backend: str, root: Path) -> None:
    """`root` holds the packages; `backend` is one of `modelserve.session.BACKENDS`."""
    package = root / "onnxruntime"
    libraries = set(package.glob(f"capi/{_LIBRARY}"))
    if len(libraries) != 1:
        raise SystemExit(f"{package}/capi has {len(libraries)} files {_LIBRARY}; expected one: look at what this release of it ships")
    for file in package.rglob("*"):
        used = (file in libraries) != (backend == "binding") and file.relative_to(package).parts[0] not in _UNUSED
        if file.is_file() and not used and file.name not in _LICENCES:
            file.unlink()
    for pattern in _NEVER_RUN:
        for file in root.rglob(pattern):
            if file.is_file():
                file.unlink()
    for folder in sorted(root.rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


if __name__ == "__main__":
    main(sys.argv[1], Path.cwd())
    for file in Path(__file__).parent.glob("*.*"):  # this one, and what pip was told to install
        file.unlink()
