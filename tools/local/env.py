"""Prints what a shell needs to call the app that `make run` runs, so that boto3 and the AWS command line find it: eval "$(…)"."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.modelctl.paths import LOCAL_DEPLOYMENT

__all__ = ["main", "variables"]


def main(file: Path = LOCAL_DEPLOYMENT) -> int:
    """The exit status: 1 where nothing runs."""
    try:
        described = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        print("nothing runs on this machine; start it in another terminal: make run", file=sys.stderr)
        return 1
    for name, value in variables(described).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def variables(described: Mapping[str, Any]) -> dict[str, str]:
    """Where AWS's services are, a key of the API, and every output of the stacks under its own name; of what `LocalStack` describes."""
    return {
        **described["outputs"],
        "AWS_ENDPOINT_URL": described["endpoint_url"],
        "AWS_DEFAULT_REGION": described["region"],
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "MODEL_KEY": described["key"],
    }


if __name__ == "__main__":
    sys.exit(main())
