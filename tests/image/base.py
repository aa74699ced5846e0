"""The base image: AWS's own where BASE_IMAGE names it, otherwise a stand-in made of Debian's Python 3.13 and the lock."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.image.docker import BUILD, PROJECT, ImageError, run
from tools import sbom
from tools.loopback.bootstrap import BOOTSTRAP

__all__ = ["Base", "base"]

_STANDIN = Path(__file__).with_name("standin")
_SYSTEM = "serverless-onnx/debian:trixie"
_PACKAGES = "python3,python3-pip,ca-certificates"
_TARGET = ("--python-platform", "x86_64-manylinux_2_28", "--python-version", "3.13", "--only-binary", ":all:")


@dataclass(frozen=True, kw_only=True)
class Base:
    """An image to build on, and the network that a build on it needs."""

    name: str
    network: str


def base(environ: Mapping[str, str]) -> Base:
    """What BASE_IMAGE names is pulled, and pip reaches its index; the stand-in has all it needs. Raises `ImageError`."""
    if name := environ.get("BASE_IMAGE"):
        run("docker", "pull", "--quiet", name)
        return Base(name=name, network="host")
    _system()
    context = BUILD / "base"
    shutil.copytree(_STANDIN, context, dirs_exist_ok=True)
    shutil.copy2(BOOTSTRAP, context)
    _runtime(context / "runtime")
    _wheels(context / "wheels")
    run("docker", "build", "--quiet", "--network", "none", "--tag", "serverless-onnx/base", context)
    return Base(name="serverless-onnx/base", network="none")


def _system() -> None:
    """Debian with its Python: the daemon has it, or build/ from an earlier run, or Debian's mirror."""
    if run("docker", "images", "--quiet", _SYSTEM):
        return
    archive = BUILD / "trixie.tar"
    if not archive.exists():
        folder, unfinished = BUILD / "trixie", archive.with_suffix(".unfinished")
        BUILD.mkdir(parents=True, exist_ok=True)
        run(*_root(), "rm", "-rf", folder)
        run(*_root(), "debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "trixie", folder)
        run(*_root(), "tar", "--directory", folder, "--exclude=./var/cache/apt/archives/*.deb", "--create", "--file", unfinished, ".")
        run(*_root(), "rm", "-rf", folder)
        unfinished.replace(archive)
    run("docker", "import", archive, _SYSTEM)


def _root() -> tuple[str, ...]:
    return () if os.geteuid() == 0 else ("sudo", "-n")


def _runtime(folder: Path) -> None:
    """awslambdaric and boto3, which AWS's image has in /var/runtime."""
    uv = Path(sys.executable).with_name("uv")
    requirements = BUILD / "runtime.txt"
    exported = run(uv, "export", "--project", PROJECT, "--only-group", "runtime", "--no-emit-project", "--frozen", "--no-header", "--quiet")
    if folder.exists() and requirements.exists() and requirements.read_text("utf-8") == exported:
        return
    shutil.rmtree(folder, ignore_errors=True)
    requirements.unlink(missing_ok=True)
    unfinished = requirements.with_suffix(".unfinished")
    unfinished.write_text(exported, "utf-8")
    run(uv, "pip", "install", "--quiet", "--target", folder, *_TARGET, "--require-hashes", "--requirements", unfinished)
    unfinished.replace(requirements)


def _wheels(folder: Path) -> None:
    """The files that the bill of materials names, through this machine's own pip configuration, which never enters an image."""
    requirements = BUILD / "wheels.txt"
    lines = sorted(
        {
            f"{each['name']}=={each['version']} --hash=sha256:{each['hashes'][0]['content']}\n"
            for name in sbom.BILLS
            if name.endswith("-image")
            for each in sbom.bill(name)["components"]
        }
    )
    if folder.exists() and requirements.exists() and requirements.read_text("utf-8") == "".join(lines):
        return
    shutil.rmtree(folder, ignore_errors=True)
    requirements.write_text("".join(lines), "utf-8")
    platforms = [word for platform in sbom.PLATFORMS for word in ("--platform", platform)]
    options = ("--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--python-version", "3.13", *platforms)
    try:
        run(sys.executable, "-m", "pip", "download", *options, "--dest", folder, "--requirement", requirements)
    except ImageError:
        requirements.unlink()
        raise
