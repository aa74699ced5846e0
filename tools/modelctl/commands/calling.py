"""Commands that try a deployment: predict, doctor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.text import Text

from models.config import ModelConfig
from tools.modelctl import answer, api, paths
from tools.modelctl import doctor as examination
from tools.modelctl.console import err, next_step, out, print_json, table
from tools.modelctl.deployment import find
from tools.modelctl.errors import UsageFailed
from tools.modelctl.options import DeploymentName, DeploymentOption, Json, Name, Profile

__all__ = ["doctor", "predict"]

_SHOWN = {"ok": Text("ok", "green"), "warn": Text("look", "yellow"), "fail": Text("missing", "bold red")}


def predict(
    name: Name,
    *,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input", metavar="FILE", help="An infer request as JSON, or `-` for stdin; by default the example that training left."
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key", help="A client's key; by default that of `make run` on this machine, elsewhere MODEL_KEY.", show_default=False
        ),
    ] = None,
    wait: Annotated[float, typer.Option("--wait", min=0, metavar="SECONDS", help="How long to wait for an async model's job.")] = 900,
    deployment: DeploymentOption = DeploymentName.LOCAL,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Ask a deployed model, as a client of it does.

    Examples: `modelctl predict fruit`, `modelctl predict fruit --input request.json --deployment dev`
    """
    target = find(deployment, profile=profile)
    body = _request(name, input_file)
    with err.status(f"asking {name}"):
        found = api.infer(target, name, body, key=key, wait=wait)
    if as_json:
        print_json(found)
        return
    folder = paths.MODELS / name
    labels = ModelConfig.load(folder).labels if (folder / "model.toml").is_file() else ()
    out.print(f"{name} {found.get('model_version', '')} of {deployment} answers", soft_wrap=True)
    out.print(answer.shown(found, labels))
    next_step(f"modelctl show {name} {found.get('model_version') or 'production'}", deployment)


def doctor(*, deployment: DeploymentOption = DeploymentName.LOCAL, profile: Profile = None, as_json: Json = False) -> None:
    """What is missing before a deployment works, and the command that puts it right; exits 1 when something is.

    Example: `modelctl doctor --deployment dev`
    """
    models = ModelConfig.load_all(paths.MODELS)
    with err.status(f"looking at {deployment}"):
        checks = list(examination.examine(deployment, models, profile=profile))
    missing = [check for check in checks if check.state == "fail"]
    if as_json:
        print_json(checks)
    else:
        shown = table("", "", "found", "what to do", title=f"Deployment {deployment}")
        for check in checks:
            shown.add_row(_SHOWN[check.state], check.what, check.found, check.fix)
        out.print(shown)
        next_step(*((missing[0].fix,) if missing else ("modelctl list", deployment)))
    if missing:
        raise typer.Exit(1)


def _request(name: str, file: Path | None) -> bytes:
    source = file or paths.BUILD / name / paths.EXAMPLE_FILE
    try:
        body = sys.stdin.buffer.read() if str(source) == "-" else source.read_bytes()
    except OSError as error:
        advice = f"expected an infer request as JSON, such as the build/models/{name}/example.json that `modelctl train {name}` writes"
        raise UsageFailed(f"{source} can't be read ({error.strerror}); {advice}") from None
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UsageFailed(f'{source} is not JSON ({error}); expected an infer request: {{"inputs": [...]}}') from None
    return body
