"""One real prediction over HTTP: shows its answer to a person, and the same call for a shell."""

from __future__ import annotations

import json
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from tools.local.errors import LocalError
from tools.local.models import Published

__all__ = ["choose", "curl", "predict"]

_PATIENCE = 60
"""Seconds; the gateway gives up long before."""
_POLL_SECONDS = 0.2


def choose(models: Sequence[Published]) -> Published:
    """The shortest request, of a model whose answer is a word if there is one. Raises `LocalError` without any model."""
    if not models:
        raise LocalError("models/ has no model; `.venv/bin/modelctl new NAME` makes one")
    labelled = [model for model in models if model.labels]
    return min(labelled or models, key=lambda model: model.example.stat().st_size)


def predict(url: str, model: Published, *, key: str) -> Any:
    """The answer's JSON, of a job once that is done; `key` is a client's. Raises `LocalError` with what the API said."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    answer = _ask(urllib.request.Request(_infer(url, model), _body(model).encode(), headers))  # noqa: S310 - the address is our own
    ends = time.monotonic() + _PATIENCE
    while (job := answer.get("status_url")) and time.monotonic() < ends:
        time.sleep(_POLL_SECONDS)
        answer = _ask(urllib.request.Request(url + job, headers=headers))  # noqa: S310 - as above
    return answer


def curl(url: str, model: Published, *, key: str) -> str:
    """One line, for any folder."""
    return f"curl {_infer(url, model)} -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d {shlex.quote(_body(model))}"


def _infer(url: str, model: Published) -> str:
    return f"{url}/v2/models/{model.name}/infer"


def _body(model: Published) -> str:
    return json.dumps(json.loads(model.example.read_bytes()), separators=(",", ":"))


def _ask(request: urllib.request.Request) -> Any:
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as response:  # noqa: S310 - the address is our own
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise LocalError(f"the API answered {error.code}: {error.read().decode(errors='replace')}") from None
    except (OSError, ValueError) as error:
        raise LocalError(f"the API's answer can't be read: {error}") from None
