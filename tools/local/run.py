"""Starts the whole app step by step, sends it a prediction, and either stays or ends."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from models.config import ModelConfig, ModelConfigError
from tools.local.errors import LocalError
from tools.local.models import Models, Published
from tools.local.prediction import choose, curl, predict
from tools.local.server import check_port
from tools.local.steps import Step, Steps
from tools.local.synth import CDK_OUT, layers, synthesize
from tools.modelctl.answer import shown
from tools.modelctl.paths import LOCAL_DEPLOYMENT

__all__ = ["main"]

_CONSOLE = Console(highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0 when the app answered."""
    arguments = _parse(argv)
    if sys.platform != "linux":
        _say("The Lambda Runtime Interface Emulator is a Linux program. Open this folder in its dev container (.devcontainer/).")
        return 1
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    try:
        _run(port=arguments.port, stay=arguments.command == "run")
    except (LocalError, ModelConfigError) as error:
        _say(f"Error: {error}", style="red")
        return 1
    except KeyboardInterrupt:
        _say("\nEverything that was started has ended.")
        return 0 if arguments.command == "run" else 130
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.local", description="The synthesized app on this machine, without an AWS account."
    )
    parser.add_argument("command", choices=["run", "demo"], help="run stays until Ctrl-C; demo ends after the first answer")
    parser.add_argument("--port", type=int, default=os.environ.get("PORT", "8080"), help="of 127.0.0.1 (default: PORT or 8080)")
    return parser.parse_args(argv)


def _say(text: str, style: str = "") -> None:
    _CONSOLE.print(Text(text, style), soft_wrap=True)


def _run(*, port: int, stay: bool) -> None:
    check_port(port)
    steps = Steps(_CONSOLE)
    with ExitStack() as ending:
        with Models() as models:
            _assemble(steps)
            # Imported while the workers train; moto takes a while.
            from tools.local.stack import LocalStack  # noqa: PLC0415

            stack = LocalStack(CDK_OUT, port=port)
            ending.callback(stack.close)
            published = _start(steps, stack, models)
        with _announced(stack, stay=stay):
            _predict(steps, stack, published, stay=stay)
            if stay:
                threading.Event().wait()


def _assemble(steps: Steps) -> None:
    with steps("layers"):
        layers()
    with steps("cloud assembly") as step:
        fresh = synthesize()
        step.detail = "synthesized by the CDK" if fresh else "unchanged"


def _start(steps: Steps, stack: Any, models: Models) -> list[Published]:
    """Stacks, models and functions, then the API: it answers from its first moment."""
    with steps("stacks") as step:
        stack.start_cloud()
        step.detail = "created in moto through CloudFormation"
    with steps("models") as step:
        _train(step, models)
    with steps("model store") as step:
        published = models.publish(stack.endpoint_url, stack.bucket, signing_key=stack.outputs.get("SigningKey"))
        step.detail = f"s3://{stack.bucket}"
    heavy = {config.name for config in ModelConfig.load_all() if config.target == "gpu"}
    _CONSOLE.print(Padding(_table(published, heavy), (0, 0, 0, 4)))
    if heavy:
        _say("    GPU route: a stand-in for the endpoint runs the same archive on this machine's CPU", style="dim")
    with steps("functions") as step:
        stack.start_functions(step.tell)
        step.detail = f"{len(stack.environments)}, each a process from its first request on"
    stack.start_api()
    return published


def _train(step: Step, models: Models) -> None:
    trained = 0
    for name, fresh in models.built():
        trained += fresh
        step.tell(f"{name} is ready")
    step.detail = "unchanged"
    if trained:
        step.began = models.began
        step.detail = f"trained, evaluated, converted and compared beside the steps above: {trained}"


def _table(published: Sequence[Published], heavy: Collection[str]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for model in published:
        route = "GPU route" if model.name in heavy else ""
        table.add_row(model.name, Text(model.metric, "cyan"), Text(model.version, "dim"), Text(route, "cyan"))
    return table


@contextmanager
def _announced(stack: Any, *, stay: bool) -> Iterator[None]:
    """While `make run` runs, `modelctl --deployment local` finds it."""
    if stay:
        LOCAL_DEPLOYMENT.unlink(missing_ok=True)  # one that a killed process left might be for everybody to read
        with open(LOCAL_DEPLOYMENT, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            json.dump(stack.describe(), file, indent=2)
    try:
        yield
    finally:
        if stay:
            LOCAL_DEPLOYMENT.unlink(missing_ok=True)


def _predict(steps: Steps, stack: Any, published: Sequence[Published], *, stay: bool) -> None:
    model = choose(published)
    with steps("first prediction") as step:
        answer = predict(stack.url, model, key=stack.key)
        step.detail = f"{model.name}, cold start included"
    _CONSOLE.print(Padding(shown(answer, model.labels), (1, 0, 1, 4)))
    _say(f"The API: {stack.url}/v2   (the key in the call below is this run's)")
    if stay:
        _say("The command line: .venv/bin/modelctl list   (in another terminal; Ctrl-C here ends everything)")
        _say("Jobs, uploads, data sets, events: docs/ways-in.md   (a job: the call below with jobs for infer, then its status_url)")
        _say("The same call, to paste:\n")
    # Not through the console, which would break the line.
    print(curl(stack.url, model, key=stack.key), flush=True)
