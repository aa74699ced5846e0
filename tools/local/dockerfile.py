"""Reads the part of the Dockerfile language that a stand-in for `docker build` can follow faithfully."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import Template

from tools.local.errors import LocalError

__all__ = ["KNOWN", "Instruction", "argv", "expand", "parse"]

KNOWN = ("ARG", "FROM", "WORKDIR", "ENV", "COPY", "RUN", "CMD")


@dataclass(frozen=True)
class Instruction:
    """One instruction, continuation lines joined."""

    name: str
    value: str


def parse(text: str) -> Iterator[Instruction]:
    """Raises `LocalError` for an instruction that is not in `KNOWN`."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\[ \t]*\n", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        name, _, value = line.strip().partition(" ")
        if name.upper() not in KNOWN:
            raise LocalError(f"the Dockerfile says {name}; the local runner follows {', '.join(KNOWN)} only: write it with those")
        yield Instruction(name.upper(), value.strip())


def argv(value: str) -> list[str]:
    """The words of an exec form (`["a", "b"]`) or of a shell form."""
    if value.startswith("["):
        return [str(word) for word in json.loads(value)]
    return shlex.split(value)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replaces `$NAME` and `${NAME}`. Raises `LocalError` for a name that was not set."""
    try:
        return Template(text).substitute(variables)
    except (KeyError, ValueError) as error:
        raise LocalError(f"the Dockerfile uses {error} in {text!r}, which no ARG or ENV above it sets") from None
