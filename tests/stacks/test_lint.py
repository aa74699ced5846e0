"""The templates against CloudFormation's own schemas, which synth doesn't look at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stacks.factories import EVERYTHING, HEAVY, WARM

pytestmark = pytest.mark.xdist_group("stacks")

# CDK writes a DependsOn on a function's role even where the template refers to it anyway.
REDUNDANT_DEPENDENCY = "W3005"


@pytest.mark.parametrize("stack", ["store", "batch", "serving", "gpu"])
def test_cfn_lint_has_nothing_to_say(synthesized, tmp_path, stack):
    template = tmp_path / "template.json"
    template.write_text(json.dumps(getattr(synthesized(EVERYTHING, *WARM, *HEAVY), stack).to_json()))
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--ignore-checks", REDUNDANT_DEPENDENCY, "--", str(template)]
    linted = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (linted.stdout + linted.stderr, linted.returncode) == ("", 0)
