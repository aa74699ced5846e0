"""What a person can do wrong with a model, each as one paragraph that says what to do."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path

__all__ = [
    "BuildFailed",
    "CallFailed",
    "DeploymentNotFound",
    "EndpointFailed",
    "GateFailed",
    "ModelRefused",
    "ModelctlError",
    "PromotionRefused",
    "TrainFailed",
    "UsageFailed",
    "VersionAmbiguous",
    "first_line",
]

_SHOWN = 10


class ModelctlError(Exception):
    """Base of every error whose text is for the person at the terminal."""


class TrainFailed(ModelctlError):
    """A train.py that can't be used, or that failed."""

    def __init__(self, file: Path, what: str) -> None:
        super().__init__(f"{file}: {what}")

    @classmethod
    def during(cls, file: Path, error: Exception) -> TrainFailed:
        """Names the innermost line of `file` that was running."""
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file]
        where = f"line {lines[-1]}" if lines else "at import"
        return cls(file, f"{type(error).__name__} in {where}: {error}; correct the file, then run the command again")


class BuildFailed(ModelctlError):
    """An estimator or data that can't become an ONNX model."""


class UsageFailed(ModelctlError):
    """Something was asked for that can't be done as asked."""


class DeploymentNotFound(ModelctlError):
    """A deployment that isn't there, or can't be found from here."""

    def __init__(self, name: str, reason: str, command: str) -> None:
        super().__init__(f"there is no deployment '{name}': {reason}. Run this, then try again: {command}")
        self.reason = reason
        self.command = command


class CallFailed(ModelctlError):
    """The API refused a request, or could not be reached."""


class EndpointFailed(ModelctlError):
    """An endpoint that does not run a version, which is not promoted then."""

    def __init__(self, name: str, version: str, reason: str, advice: str) -> None:
        super().__init__(f"{name} was not promoted to {version}: {reason}. {advice}")
        self.reason = reason


class GateFailed(ModelctlError):
    """A model that is not good enough to publish."""

    def __init__(self, name: str, failures: Sequence[str]) -> None:
        super().__init__(
            f"{name} was not published: {'; '.join(failures)}. Improve models/{name}/train.py or correct the gates in model.toml; "
            f'`modelctl publish {name} --force "REASON"` publishes it all the same and keeps the reason in the manifest'
        )
        self.failures = tuple(failures)


class PromotionRefused(ModelctlError):
    """A version that is not good enough for an alias."""

    def __init__(self, name: str, version: str, failures: Sequence[str], command: str) -> None:
        super().__init__(
            f"{name} was not promoted to {version}: {'; '.join(failures)}. Publish a better version, or correct the gates in "
            f'models/{name}/model.toml; `{command} --force "REASON"` promotes it all the same and keeps the reason in the history'
        )
        self.failures = tuple(failures)


class ModelRefused(ModelctlError):
    """A model that must not be served: of a kind that no tier runs, or one that harms what runs it."""

    def __init__(self, name: str, findings: Sequence[object], command: str) -> None:
        shown = [str(finding) for finding in findings[:_SHOWN]]
        more = [f"and {len(findings) - _SHOWN} more"] if len(findings) > _SHOWN else []
        super().__init__(
            f"{name} may not be served: {'; '.join([*shown, *more])}. Correct it and publish it again; "
            f'`{command} --force "REASON"` goes on all the same and keeps the reason'
        )
        self.findings = tuple(findings)


class VersionAmbiguous(ModelctlError):
    """A part of a version that fits none, or more than one."""

    def __init__(self, name: str, text: str, fitting: Sequence[str]) -> None:
        found = f"fits {len(fitting)}: {', '.join(fitting)}" if fitting else "fits none"
        super().__init__(
            f"{text!r} {found} of {name}'s versions; expected a version, the start or end of just one, an alias, or `latest`; "
            f"`modelctl show {name}` lists them"
        )


def first_line(error: object, *, named: bool = False) -> str:
    """Of what a library says, whose further lines are of its own insides; its type where it says nothing, and before it if `named`."""
    kind, lines = type(error).__name__, str(error).strip().splitlines() or [""]
    return f"{kind}: {lines[0] or 'no reason given'}" if named else lines[0] or kind
