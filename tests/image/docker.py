"""The `docker` command, and what it says when it can't."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

__all__ = ["BUILD", "PROJECT", "ImageError", "check_daemon", "run"]

PROJECT = Path(__file__).parents[2]
BUILD = PROJECT / "build" / "image"
"""What can be used again: the stand-in's system, its wheels, its runtime client."""
_ENVIRONMENT = {**os.environ, "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}  # Lambda refuses attestation manifests


class ImageError(Exception):
    """The image could not be built or run, or did not do what it must."""


def run(*line: str | Path) -> str:
    """What a program printed. Raises `ImageError` with what it said."""
    words = [str(word) for word in line]
    try:
        done = subprocess.run(words, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ImageError(f"{words[0]} is not installed; install it (Debian, Ubuntu: apt-get install docker.io debootstrap)") from None
    if done.returncode:
        raise ImageError(f"`{' '.join(words)}` failed with {done.returncode}:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout.strip()


def check_daemon() -> str:
    """Its version. Raises `ImageError` where none answers."""
    try:
        return run("docker", "version", "--format", "{{.Server.Version}}")
    except ImageError as error:
        raise ImageError(f"{error}\nNo Docker daemon answers: start Docker, or run .ci/run, which starts one of its own") from None
