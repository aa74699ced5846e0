"""Commands on jobs that were tried as often as may be: dlq list, redrive."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer
from rich.progress import Progress
from rich.text import Text

from tools.modelctl import dead_letters
from tools.modelctl.console import err, next_step, note, out, print_json
from tools.modelctl.dead_letters import DeadLetter
from tools.modelctl.deployment import find
from tools.modelctl.errors import UsageFailed
from tools.modelctl.options import DeploymentName, DeploymentOption, Json, Profile

__all__ = ["app"]

app = typer.Typer(
    help="Jobs that failed as often as they may: what they are, and another try.", no_args_is_help=True, rich_markup_mode="markdown"
)

Most = Annotated[int, typer.Option("--most", min=1, metavar="N", help="No more than so many of each priority.")]
Model = Annotated[str | None, typer.Option("--model", metavar="NAME", help="Only those for this model.")]
_TOLD = 60  # characters of a body that can't be read


@app.command("list")
def list_letters(
    *,
    most: Most = 100,
    model: Model = None,
    deployment: DeploymentOption = DeploymentName.LOCAL,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """What waits in the dead-letter queues of jobs, with the last error of each; nothing is taken away.

    Example: `modelctl dlq list --deployment prod`
    """
    target = find(deployment, profile=profile)
    found: list[DeadLetter] = []
    total = 0
    for queue in dead_letters.of(target):
        total += queue.count()
        found += [each for each in queue.look(most) if model in (None, each.model)]
    errors = dead_letters.errors_of(target, found)
    if as_json:
        print_json([_document(each, errors) for each in found])
        return
    if not found:
        out.print(f"No dead letters{f' for {model}' if model else ''}: no job of {deployment} waits for somebody to look at it.")
        return
    for each in found:
        _show(each, errors.get(each.id))
    if total > len(found):
        note(f"{total} wait there in all; see more with --most {total}")
    next_step("modelctl dlq redrive", deployment)


@app.command()
def redrive(
    *,
    model: Model = None,
    job: Annotated[str | None, typer.Option("--job", metavar="ID", help="Only this one.")] = None,
    deployment: DeploymentOption = DeploymentName.LOCAL,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Send dead letters back to their queues, once what was wrong is repaired; each gets as many attempts as a new job.

    Examples: `modelctl dlq redrive`, `modelctl dlq redrive --model fruit --deployment prod`
    """
    target = find(deployment, profile=profile)
    moved: dict[str, int] = {}
    with Progress(console=err, transient=True) as progress:
        for queue in dead_letters.of(target):
            task = progress.add_task(f"{queue.priority} priority", total=queue.count())
            moved[queue.priority] = queue.redrive(
                lambda each: model in (None, each.model) and job in (None, each.id), partial(progress.advance, task)
            )
    if as_json:
        print_json({"redriven": moved})
        return
    _told(sum(moved.values()), job, deployment)


def _told(moved: int, job: str | None, deployment: DeploymentName) -> None:
    if not moved and job is not None:
        raise UsageFailed(f"no dead letter of {deployment} is of job {job}; `modelctl dlq list` shows which there are")
    out.print(f"Sent back: {moved}" if moved else "There was nothing to send back.")
    if moved:
        next_step("modelctl dlq list", deployment)


def _show(letter: DeadLetter, error: str | None) -> None:
    """Two lines: beside a job's id a terminal has no room for an error."""
    about = f"{letter.sent:%Y-%m-%d %H:%M}  {letter.priority} priority  {letter.model}  {letter.client}"
    out.print(Text.assemble((letter.id or "(unreadable)", "bold"), f"  {about}"), soft_wrap=True)
    if text := error or (letter.body[:_TOLD] if not letter.id else ""):
        out.print(Text(f"  {text}", "dim"), soft_wrap=True)


def _document(letter: DeadLetter, errors: dict[str, str]) -> dict[str, Any]:
    names = ("priority", "id", "model", "client", "body")
    return {name: getattr(letter, name) for name in names} | {"sent": letter.sent.isoformat(), "error": errors.get(letter.id)}
