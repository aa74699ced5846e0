"""A thing that a deployment needs, and what doctor found of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError  # noqa: A004  # botocore's own

__all__ = ["Check", "State", "attempt"]

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that a deployment needs."""

    what: str
    state: State
    found: str
    fix: str = ""
    """A command, or what to do where there is none."""


def attempt(what: str, fix: str, check: Callable[[], Check], *, refused: State = "fail") -> Check:
    """What AWS refuses to tell is a check's result, not a failed command."""
    try:
        return check()
    except (ConnectionError, HTTPClientError) as error:
        return Check(what=what, state=refused, found=str(error), fix="check the network and the region's name")
    except (ClientError, BotoCoreError) as error:
        return Check(what=what, state=refused, found=str(error), fix=fix)
