"""What a model is called and how it is made stays within the account."""

import os
import subprocess
import sys

import pytest

from modelserve.session import BACKENDS


@pytest.mark.parametrize("backend", BACKENDS)
def test_onnx_runtime_sends_nothing_to_its_maker(tmp_path, backend):
    """Its telemetry leaves a session's id in the temporary folder as soon as it is loaded; a function's /tmp stays empty."""
    quiet = {"CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS"}  # what turns it off, set by whoever runs the tests
    environ = {name: value for name, value in os.environ.items() if name not in quiet} | {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", f"from modelserve.session import preload; preload({backend!r})"], env=environ, check=True)
    assert list(tmp_path.iterdir()) == []
