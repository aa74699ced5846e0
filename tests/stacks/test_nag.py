"""cdk-nag's two packs, and CDK's own warnings, over every deployment: no finding without an answer, and no answer without a finding."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks, ServerlessChecks
from constructs import IConstruct

from stacks.deployment import Deployment
from tests.stacks.factories import DEPLOYMENTS, ROOT, cdk_app

pytestmark = [pytest.mark.xdist_group("stacks"), pytest.mark.usefixtures("synthesized")]


# CDK's own check of templates names its rules so only where they are acknowledged.
_PREFIXES = {"CloudFormation Validate": "CloudFormation-Validate::"}


@dataclass(frozen=True)
class Acknowledgement:
    """Where which rule is kept silent, and what protects instead."""

    path: str
    rule: str
    control: str

    def covers(self, rule: str, path: str) -> bool:
        return rule == self.rule and f"{path}/".startswith(f"{self.path}/")

    @property
    def family(self) -> str:
        """The rule without the finding: `AwsSolutions-IAM5` of `AwsSolutions-IAM5[Resource::*]`."""
        return self.rule.partition("[")[0]


def check(folder: Path) -> tuple[App, set[tuple[str, str]]]:
    """One app of every deployment, each under a name of its own, and what the packs found at synth: rule and construct."""
    app = cdk_app(folder)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app))
    for name, (settings, models) in DEPLOYMENTS.items():
        Deployment(app, settings=replace(settings, name=name), models=models)
    with suppress(RuntimeError):  # it ends so after writing the report, if anything was found
        app.synth()
    report = json.loads((folder / "validation-report.json").read_text("utf-8"))
    return app, {
        (_PREFIXES.get(each["pluginName"], "") + violation["ruleName"].removeprefix("Annotation::"), construct["constructPath"])
        for each in report["pluginReports"]  # has a pack only where it found something
        for violation in each["violations"]
        for construct in violation["violatingConstructs"]
    }


def acknowledgements(root: IConstruct) -> list[Acknowledgement]:
    return [
        Acknowledgement(construct.node.path, rule.removeprefix("Annotation::"), control)
        for construct in root.node.find_all()
        for entry in construct.node.metadata
        if entry.type == Validations.ACKNOWLEDGED_RULES_METADATA_KEY
        for rule, control in entry.data.items()
    ]


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    return check(tmp_path_factory.mktemp("nag"))


@pytest.fixture(scope="module")
def unsilenced(tmp_path_factory):
    """What the packs find where nothing is acknowledged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Validations, "acknowledge", lambda *_: None)
        return check(tmp_path_factory.mktemp("nag"))[1]


@pytest.mark.parametrize("pack", ["AwsSolutions", "Serverless"])
def test_both_packs_look_at_every_deployment(unsilenced, pack):
    assert {path.split("/")[0] for rule, path in unsilenced if rule.startswith(f"{pack}-")} == DEPLOYMENTS.keys()


def test_nothing_is_found_that_is_not_acknowledged(checked):
    assert checked[1] == set()


def test_every_acknowledgement_silences_something(checked, unsilenced):
    """One that nothing needs any more would hide what comes next."""
    given = acknowledgements(checked[0])
    assert given
    assert [each for each in given if not any(each.covers(*found) for found in unsilenced)] == []


def test_every_acknowledgement_is_listed_with_its_control(checked):
    page = (ROOT / "docs" / "security.md").read_text("utf-8").splitlines()
    rows = {each.family: [row for row in page if row.startswith(f"| `{each.family}`")] for each in acknowledgements(checked[0])}
    unlisted = [each for each in acknowledgements(checked[0]) if not any(each.control in row for row in rows[each.family])]
    assert unlisted == []


def test_nothing_is_listed_that_is_not_acknowledged(checked):
    page = (ROOT / "docs" / "security.md").read_text("utf-8").splitlines()
    listed = {
        row.split("`")[1] for row in page if row.startswith(("| `AwsSolutions-", "| `Serverless-", "| `@aws-cdk/", "| `CloudFormation-"))
    }
    assert listed == {each.family for each in acknowledgements(checked[0])}
