"""A shell learns where the app on this machine is."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tools.local.env import main

DESCRIBED: dict[str, Any] = {
    "endpoint_url": "http://127.0.0.1:5000",
    "region": "us-east-1",
    "key": "sox.local.k",
    "outputs": {"PaymentTable": "payments", "Curl": "curl -H \"Authorization: Bearer $MODEL_KEY\" 'x'"},
}


def test_a_shell_that_evaluates_it_has_every_output_as_it_is(tmp_path, capsys):
    (tmp_path / "deployment.json").write_text(json.dumps(DESCRIBED))
    assert main(tmp_path / "deployment.json") == 0
    script = f'{capsys.readouterr().out}\nprintf "%s|" "$PaymentTable" "$Curl" "$AWS_ENDPOINT_URL" "$AWS_DEFAULT_REGION" "$MODEL_KEY"'
    seen = subprocess.run(["/bin/sh", "-c", script], check=True, capture_output=True, text=True, env={}).stdout
    assert seen.split("|") == ["payments", DESCRIBED["outputs"]["Curl"], "http://127.0.0.1:5000", "us-east-1", "sox.local.k", ""]


def test_with_nothing_running_it_says_what_to_start(tmp_path, capsys):
    assert main(tmp_path / "deployment.json") == 1
    assert "make run" in capsys.readouterr().err
