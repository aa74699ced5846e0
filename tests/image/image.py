"""The image under test: the real Dockerfile on the folder that the CDK staged, and what is in the result."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tests.image.base import Base
from tests.image.docker import PROJECT, ImageError, run
from tools import sbom
from tools.local.assembly import ImageAsset

__all__ = ["Image", "build", "check_contents"]

_LIBRARIES = {"predict": ("modelserve",), "batch": ("modelserve", "scoring")}
"""What is in an image beside its folder of functions/."""
_LIST = """
import json, importlib.metadata as m, pathlib, re
found = {re.sub("[-_.]+", "-", d.name).lower(): d.version for d in m.distributions(path=["/var/task"])}
own = [str(p) for r in ("functions", "modelserve", "scoring") for p in pathlib.Path(r).rglob("*") if p.is_file() and p.suffix != ".pyc"]
uncompiled = [str(p) for p in pathlib.Path(".").rglob("*.py") if not any(p.parent.glob("__pycache__/" + p.stem + ".*.pyc"))]
print(json.dumps({"packages": found, "files": own, "uncompiled": uncompiled}))
"""


@dataclass(frozen=True, kw_only=True)
class Image:
    """A built image; sizes in bytes."""

    folder: str
    """Of functions/."""
    name: str
    command: tuple[str, ...]
    size: int
    added: int
    """What the Dockerfile put on the base image."""


def build(asset: ImageAsset, base: Base) -> Image:
    """Raises `ImageError` with what the build printed."""
    folder = Path(asset.dockerfile).parent.name
    tag = f"serverless-onnx/{folder}:{asset.build_args.get('SESSION_BACKEND', 'test')}"
    arguments = [word for name, value in asset.build_args.items() for word in ("--build-arg", f"{name}={value}")]
    arguments += ["--build-arg", f"BASE_IMAGE={base.name}", "--network", base.network, "--tag", tag]
    run("docker", "build", "--quiet", *arguments, "--file", asset.context / asset.dockerfile, asset.context)
    size = _size(tag)
    command = json.loads(run("docker", "image", "inspect", "--format", "{{json .Config.Cmd}}", tag))
    return Image(folder=folder, name=tag, command=tuple(command), size=size, added=size - _size(base.name))


def _size(name: str) -> int:
    return int(run("docker", "image", "inspect", "--format", "{{.Size}}", name))


def check_contents(image: Image) -> int:
    """The number of packages, which are those of the bill of materials; every file of ours is there, no other, and all have bytecode.

    Raises `ImageError` with the differences.
    """
    found = json.loads(run("docker", "run", "--rm", "--network", "none", "--entrypoint", "python", image.name, "-c", _LIST))
    packages = {each["name"]: each["version"] for each in sbom.bill(f"{image.folder}-image")["components"]}
    _same("packages of the bill of materials", set(packages.items()), set(found["packages"].items()))
    _same(f"files of functions/{image.folder} and {' and '.join(_LIBRARIES[image.folder])}", _sources(image.folder), set(found["files"]))
    _same("modules without bytecode", set(), set(found["uncompiled"]))
    return len(packages)


def _sources(folder: str) -> set[str]:
    """What git would ship of these folders, as the image names it."""
    rooms = {f"functions/{folder}": PROJECT / "functions" / folder}
    rooms |= {name: PROJECT / "layers" / name / "python" / name for name in _LIBRARIES[folder]}
    return {
        str(Path(room) / file.relative_to(source))
        for room, source in rooms.items()
        for file in source.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def _same(what: str, expected: Collection[object], found: Collection[object]) -> None:
    missing, unexpected = sorted(map(str, {*expected} - {*found})), sorted(map(str, {*found} - {*expected}))
    if missing or unexpected:
        raise ImageError(f"the image's {what} differ: missing {missing}, unexpected {unexpected}")
