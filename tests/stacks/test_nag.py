"""cdk-nag's two packs, and CDK's own warnings, over every deployment: no finding without an answer, and no answer without a finding."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aws_cdk import Acknowledgment, App, Validations
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

    @classmethod
    def of(cls, scope: IConstruct, given: Acknowledgment) -> Acknowledgement:
        return cls(scope.node.path, given.id.removeprefix("Annotation::"), given.reason)

    def covers(self, rule: str, path: str) -> bool:
        return rule == self.rule and f"{path}/".startswith(f"{self.path}/")

    @property
    def family(self) -> str:
        """The rule without the finding: `AwsSolutions-IAM5` of `AwsSolutions-IAM5[Resource::*]`."""
        return self.rule.partition("[")[0]


@dataclass(frozen=True)
class Withheld:
    """Stands for `Validations` of one construct: what is acknowledged there is kept in `given` until it is told to CDK."""

    scope: IConstruct
    given: list[tuple[IConstruct, Acknowledgment]]

    def acknowledge(self, *acknowledgments: Acknowledgment) -> None:
        self.given.extend((self.scope, each) for each in acknowledgments)


@dataclass(frozen=True)
class Checked:
    """What was found at synth, rule and construct, before anything was acknowledged and after; and what was acknowledged."""

    unsilenced: set[tuple[str, str]]
    silenced: set[tuple[str, str]]
    given: list[Acknowledgement]


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """One app of every deployment, each under a name of its own: made once, synthesized without and with what is acknowledged."""
    app = cdk_app(tmp_path_factory.mktemp("nag"))
    Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app))
    given: list[tuple[IConstruct, Acknowledgment]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Validations, "of", lambda scope: Withheld(scope, given))
        for name, (settings, models) in DEPLOYMENTS.items():
            Deployment(app, settings=replace(settings, name=name), models=models)
    unsilenced = findings(app)
    for scope, acknowledgment in given:
        Validations.of(scope).acknowledge(acknowledgment)
    return Checked(unsilenced, findings(app), [Acknowledgement.of(*each) for each in given])


def findings(app: App) -> set[tuple[str, str]]:
    """What the packs and CDK find in the app as it is now."""
    report = Path(app.outdir) / "validation-report.json"
    report.unlink(missing_ok=True)
    with suppress(RuntimeError):  # it ends so after writing the report, if anything was found
        app.synth(force=True)
    return {
        (_PREFIXES.get(each["pluginName"], "") + violation["ruleName"].removeprefix("Annotation::"), construct["constructPath"])
        for each in json.loads(report.read_text("utf-8"))["pluginReports"]  # has a pack only where it found something
        for violation in each["violations"]
        for construct in violation["violatingConstructs"]
    }


@pytest.mark.parametrize("pack", ["AwsSolutions", "Serverless"])
def test_both_packs_look_at_every_deployment(checked, pack):
    assert {path.split("/")[0] for rule, path in checked.unsilenced if rule.startswith(f"{pack}-")} == DEPLOYMENTS.keys()


def test_nothing_is_found_that_is_not_acknowledged(checked):
    assert checked.silenced == set()


def test_every_acknowledgement_silences_something(checked):
    """One that nothing needs any more would hide what comes next."""
    assert checked.given
    assert [each for each in checked.given if not any(each.covers(*found) for found in checked.unsilenced)] == []


def test_every_acknowledgement_is_listed_with_its_control(checked):
    page = (ROOT / "docs" / "security.md").read_text("utf-8").splitlines()
    rows = {each.family: [row for row in page if row.startswith(f"| `{each.family}`")] for each in checked.given}
    unlisted = [each for each in checked.given if not any(each.control in row for row in rows[each.family])]
    assert unlisted == []


def test_nothing_is_listed_that_is_not_acknowledged(checked):
    page = (ROOT / "docs" / "security.md").read_text("utf-8").splitlines()
    listed = {
        row.split("`")[1] for row in page if row.startswith(("| `AwsSolutions-", "| `Serverless-", "| `@aws-cdk/", "| `CloudFormation-"))
    }
    assert listed == {each.family for each in checked.given}
