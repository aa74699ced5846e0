"""The command that shows all that was measured of a version: report."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import orjson
import typer

from modelserve.manifest import MODEL_FILE
from tools.modelctl import paths
from tools.modelctl.console import next_step, note, out
from tools.modelctl.deployment import Deployment, find
from tools.modelctl.errors import DeploymentNotFound, UsageFailed
from tools.modelctl.options import DeploymentName, DeploymentOption, Name, Profile
from tools.modelctl.report.stored import PRODUCTION, Stored, of_production, of_version
from tools.modelctl.versions import resolve

__all__ = ["report"]


def report(
    name: Name,
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="As in promote; what was built here last, or else `latest`, when left out.")
    ] = None,
    *,
    compare: Annotated[
        tuple[str, str] | None, typer.Option("--compare", metavar="A B", help="Two versions instead of one: what changed from A to B.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write, instead of one in build/reports.")] = None,
    deployment: DeploymentOption = DeploymentName.LOCAL,
    profile: Profile = None,
) -> None:
    """Write a page on a version: its metrics, mistakes, features, speed and lineage, beside what production names now.

    Without VERSION it is on what `train` left in build/models/NAME, published or not; on `latest` where nothing was built here, and with
    `--deployment dev` or `prod`. The page is one file that needs no network and no script: print it, or send it to somebody.
    Examples: `modelctl report fruit --open`, `modelctl report fruit latest -d prod`, `modelctl report fruit --compare production latest`
    """
    if compare and version:
        raise UsageFailed(f"both {version} and --compare were given; expected a version, or two with --compare")
    target = _target(deployment, profile, needed=bool(compare or version))
    beside: Stored | None
    if compare:
        beside, found = (_published(_there(target), name, each) for each in compare)
        if beside.version == found.version:
            raise UsageFailed(f"{' and '.join(compare)} are both {found.version}; expected two versions: `modelctl show {name}` lists them")
        called, label = beside.version, f"{beside.version[-8:]}-{found.version[-8:]}"
    else:
        found = _chosen(target, name, version)
        beside, called, label = _production(target, name, found), PRODUCTION, found.version
    file = output or paths.BUILD.parent / "reports" / f"{name}-{label}.html"
    verdict = _write(file, found, beside, called)
    out.print(f"{name} {found.version} {verdict}", soft_wrap=True)
    out.print(f"Page: {file}", soft_wrap=True)
    if show:
        _open(file)
    else:
        asked = [version] if version else ["--compare", *compare] if compare else []
        next_step(" ".join(["modelctl report", name, *asked, "--open"]), deployment)


def _target(deployment: DeploymentName, profile: str | None, *, needed: bool) -> Deployment | None:
    """None where nothing runs on this machine, and what was built here is enough. Raises `DeploymentNotFound`."""
    try:
        return find(deployment, profile=profile)
    except DeploymentNotFound:
        if needed or deployment != DeploymentName.LOCAL:
            raise
        return None


def _chosen(target: Deployment | None, name: str, version: str | None) -> Stored:
    built = _built(name) if version is None and (target is None or target.local) else None
    if built is None and target is None:
        raise UsageFailed(f"nothing was built of {name!r} here, and nothing runs on this machine; run: modelctl train {name}")
    return built or _published(_there(target), name, version or "latest")


def _built(name: str) -> Stored | None:
    """What `train` left; None where it left nothing that can be read."""
    try:
        document = orjson.loads((paths.BUILD / name / paths.REPORT_FILE).read_bytes())
        digest = str(document["files"][MODEL_FILE])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return Stored(digest[:8], digest, document)


def _published(target: Deployment, name: str, version: str) -> Stored:
    registry = target.registry()
    chosen = resolve(registry, name, version)
    if found := of_version(registry, name, chosen):
        return found
    raise UsageFailed(
        f"{name} {chosen} has no {paths.REPORT_FILE} that can be read: it was published by an older release, or by another tool. "
        f"`modelctl show {name} {chosen}{target.option}` shows its manifest; `modelctl train {name}`, then `modelctl report {name}`, makes "
        "a page on what models/ holds now"
    )


def _production(target: Deployment | None, name: str, found: Stored) -> Stored | None:
    """None also where production is the same model, which would be compared with itself."""
    production = of_production(target.registry(), name) if target else None
    return None if production is None or production.sha256 == found.sha256 else production


def _write(file: Path, found: Stored, beside: Stored | None, called: str) -> str:
    """The verdict in a few words."""
    from tools.modelctl.report import page, standing  # noqa: PLC0415 - jinja2 is slow to import, and other commands need none of it

    other = beside.report if beside else None
    try:
        body = page.render(found.report, production=other, called=called)
    except ValueError as error:
        raise UsageFailed(f"the report on {found.version} can't be shown: {error}; build or publish the model again") from None
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(body, "utf-8")
    return standing.verdict(found.report, other if called == PRODUCTION else None)


def _open(file: Path) -> None:
    if not webbrowser.open(file.resolve().as_uri()):
        note(f"no browser was found on this machine; copy {file} to one that has one, and open it there")


def _there(target: Deployment | None) -> Deployment:
    assert target is not None  # `_target` raises where it is needed
    return target
