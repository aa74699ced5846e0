"""The command line: what each command is called, and how an error becomes one paragraph and an exit code."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError
from typer.core import TyperGroup

from models.config import ModelConfigError
from modelserve.errors import ServeError
from tools.modelctl.commands import (
    averaging,
    batch,
    calling,
    clients,
    compressing,
    dlq,
    importing,
    looking,
    migrating,
    releasing,
    reporting,
    tracing,
    training,
)
from tools.modelctl.console import fail
from tools.modelctl.errors import ModelctlError
from tools.modelctl.options import DeploymentName

__all__ = ["app", "main"]

_HELP = """The life of a model, from a folder of models/ to an answer over HTTPS.

`new` → `train` → `publish` → `promote` → `predict`; and when it was not a good idea, `rollback`.

Every command acts on the deployment that `make run` started on this machine, unless told otherwise by `--deployment dev`
or the environment variable MODELCTL_DEPLOYMENT. AWS credentials are found as the AWS command line finds them.
"""


class _Commands(TyperGroup):
    """Expected errors are told in a paragraph; any other is a bug and shows its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (ModelctlError, ModelConfigError, ServeError) as error:
            fail(str(error))
        except (BotoCoreError, ClientError) as error:
            fail(f"AWS could not answer: {error}. Run: modelctl doctor (with the same --deployment)")
        raise typer.Exit(1)


app = typer.Typer(cls=_Commands, help=_HELP, no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_show_locals=False)


@app.callback()
def _root(
    ctx: typer.Context,
    deployment: Annotated[
        DeploymentName,
        typer.Option("--deployment", "-d", envvar="MODELCTL_DEPLOYMENT", help="Where the command acts, unless it says so itself."),
    ] = DeploymentName.LOCAL,
) -> None:
    ctx.default_map = _defaults(ctx.command, deployment)


def _defaults(command: Any, deployment: DeploymentName) -> dict[str, Any]:
    """For every command below, also those of a group."""
    if not hasattr(command, "commands"):
        return {"deployment": deployment}
    return {name: _defaults(each, deployment) for name, each in command.commands.items()}


_WORK = "On this machine"
_RELEASE = "Versions and aliases"
_TRY = "A deployment"
app.command(rich_help_panel=_WORK)(training.new)
app.command("import", rich_help_panel=_WORK)(importing.import_model)
app.command(rich_help_panel=_WORK)(training.train)
app.command(rich_help_panel=_WORK)(training.evaluate)
app.command("trace-cold", rich_help_panel=_WORK)(tracing.trace_cold)
app.command(rich_help_panel=_WORK)(averaging.average)
app.command(rich_help_panel=_RELEASE)(releasing.publish)
app.command(rich_help_panel=_RELEASE)(compressing.compress)
app.command(rich_help_panel=_RELEASE)(migrating.migrate)
app.command(rich_help_panel=_RELEASE)(releasing.promote)
app.command(rich_help_panel=_RELEASE)(releasing.rollback)
app.command(rich_help_panel=_RELEASE)(releasing.copy)
app.command(rich_help_panel=_RELEASE)(releasing.prune)
app.command("list", rich_help_panel=_RELEASE)(looking.list_models)
app.command(rich_help_panel=_RELEASE)(looking.show)
app.command(rich_help_panel=_RELEASE)(reporting.report)
app.command(rich_help_panel=_RELEASE)(looking.history)
app.command(rich_help_panel=_TRY)(calling.predict)
app.command(rich_help_panel=_TRY)(batch.batch)
app.command(rich_help_panel=_TRY)(calling.doctor)
app.add_typer(clients.app, name="client", rich_help_panel=_TRY)
app.add_typer(dlq.app, name="dlq", rich_help_panel=_TRY)


def main() -> None:
    """The program `modelctl`."""
    app()


if __name__ == "__main__":
    main()
