"""The templates against CloudFormation's own schemas, which synth doesn't look at."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stacks.settings import PROD
from tests.stacks.factories import a_model

pytestmark = pytest.mark.xdist_group("stacks")

# CDK writes a DependsOn on a function's role even where the template refers to it anyway.
REDUNDANT_DEPENDENCY = "W3005"


@pytest.mark.parametrize("stack", ["store", "serving"])
def test_cfn_lint_has_nothing_to_say(synthesized, tmp_path, stack):
    settings = replace(PROD, cors_origin="https://example.org", alarm_topic_arn="arn:aws:sns:eu-west-1:123456789012:alarms")
    models = (a_model("plain"), a_model("warm", provisioned_concurrency=1), a_model("snapped", snap_start=True, architecture="arm64"))
    template = tmp_path / "template.json"
    template.write_text(json.dumps(getattr(synthesized(settings, *models), stack).to_json()))
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--ignore-checks", REDUNDANT_DEPENDENCY, "--", str(template)]
    linted = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (linted.stdout + linted.stderr, linted.returncode) == ("", 0)
