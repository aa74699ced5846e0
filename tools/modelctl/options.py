"""Arguments and options that several commands share, worded once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from tools.modelctl import paths

__all__ = ["Alias", "DeploymentName", "DeploymentOption", "Json", "Name", "OptionalName", "Profile", "Reason", "Version", "Wait"]


class DeploymentName(StrEnum):
    """Where a command acts."""

    LOCAL = "local"
    DEV = "dev"
    PROD = "prod"


def _names() -> list[str]:
    return [file.parent.name for file in sorted(paths.MODELS.glob("*/model.toml"))]


Name = Annotated[str, typer.Argument(metavar="NAME", help="The model: a folder of models/.", autocompletion=_names)]
OptionalName = Annotated[
    str | None, typer.Argument(metavar="NAME", help="The model: a folder of models/.", autocompletion=_names, show_default=False)
]
Version = Annotated[
    str,
    typer.Argument(metavar="VERSION", help="A version, its start or end (such as 1a2b3c4d), an alias, or `latest`."),
]
Alias = Annotated[str, typer.Option("--alias", help="The name that moves; the API answers with `production`.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for `modelctl history`.")]
Wait = Annotated[int, typer.Option("--wait", min=0, metavar="SECONDS", help="How long a realtime heavy model's endpoint may take.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Profile = Annotated[str | None, typer.Option("--profile", help="A profile of ~/.aws/config.", envvar="AWS_PROFILE")]
DeploymentOption = Annotated[
    DeploymentName,
    typer.Option("--deployment", "-d", help="Where: `local` is what `make run` started on this machine."),
]
