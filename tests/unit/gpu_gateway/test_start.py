"""A cold start in a process of its own: what it imports, and what it may take."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .apps import ENVIRONMENT

ROOT = Path(__file__).parents[3]


def started(expression: str, **environment: str) -> Any:
    """The value of `expression` once a fresh process has imported the handler; what a start without a store logs comes before."""
    program = f"import json, sys, resource, functions.gpu_gateway.handler; print(json.dumps({expression}))"
    environ = ENVIRONMENT | environment
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, env=environ)
    return json.loads(ran.stdout.splitlines()[-1])


def imported(names: set[str], **environment: str) -> set[str]:
    return set(started(f"sorted({names} & set(sys.modules))", **environment))


def test_it_imports_nothing_heavy_but_powertools():
    heavy = {"boto3", "botocore.session", "numpy", "onnxruntime", "pydantic", "requests", "urllib3", "cryptography", "models", "tools"}

    assert imported({*heavy, "aws_lambda_powertools"}) == {"aws_lambda_powertools"}


@pytest.mark.parametrize(("bucket", "found"), [("", set()), ("jobs", {"modelserve.async_jobs"})])
def test_jobs_are_imported_where_there_are_any(bucket, found):
    assert imported({"modelserve.async_jobs", "modelserve.session", "modelserve.signature"}, JOB_BUCKET=bucket) == found


def test_the_process_is_held_below_its_functions_memory():
    held = started("resource.getrlimit(resource.RLIMIT_DATA)", AWS_LAMBDA_FUNCTION_MEMORY_SIZE="512")

    assert 0 < held[0] < 512 * 2**20
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] != held[0]
