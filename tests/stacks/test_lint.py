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


def test_cfn_lint_has_nothing_to_say(synthesized, tmp_path):
    """All templates in one run: it takes longer to start than to read one."""
    templates = synthesized(EVERYTHING, *WARM, *HEAVY)
    files = [tmp_path / f"{stack}.json" for stack in ("store", "batch", "serving", "gpu")]
    for file in files:
        file.write_text(json.dumps(getattr(templates, file.stem).to_json()))
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--ignore-checks", REDUNDANT_DEPENDENCY, "--", *map(str, files)]
    linted = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (linted.stdout + linted.stderr, linted.returncode) == ("", 0)
