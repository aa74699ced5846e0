"""Calls a deployed API as its clients do: with a client's key."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import orjson
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.httpsession import URLLib3Session

from modelserve.clients import Refused, presented
from tools.modelctl.deployment import Deployment
from tools.modelctl.errors import CallFailed

__all__ = ["call", "infer", "key_of", "unserved"]

_TIMEOUT = 35
"""Seconds; API Gateway gives up after 29."""
_POLL_SECONDS = 2.0
_ADVICE = {
    401: "; `modelctl client list` shows which keys there are",
    403: "; `modelctl client list` shows which models a client may call, and `modelctl doctor` who is in no plan",
    404: "; `modelctl doctor` names what is not deployed, such as a new folder of models/ before the next `make run` or `cdk deploy`",
}


def call(deployment: Deployment, method: str, path: str, body: bytes | None = None, *, key: str | None = None) -> Any:
    """The answer's JSON. `path` has no slash in front; `key` as `key_of` takes it.

    Raises `CallFailed` with what the API says was wrong.
    """
    if deployment.url is None:
        raise CallFailed(f"{deployment.name} has a model store but no API yet; run: cdk deploy '{deployment.name}/*'")
    headers = {"Authorization": f"Bearer {key_of(deployment, key)}"} | ({"Content-Type": "application/json"} if body else {})
    request = AWSRequest(method, deployment.url + path, data=body, headers=headers)
    try:
        answer = URLLib3Session(timeout=_TIMEOUT).send(request.prepare())
    except BotoCoreError as error:
        raise CallFailed(f"{deployment.url} could not be reached: {error}; `modelctl doctor` says what is missing") from None
    return _read(answer.status_code, answer.content)


def infer(
    deployment: Deployment, name: str, body: bytes, *, key: str | None, wait: float, sleep: Callable[[float], None] = time.sleep
) -> Any:
    """The answer to an inference request; where that is a job, the job's, within `wait` seconds. Raises `CallFailed` as `call` does."""
    found = call(deployment, "POST", f"v2/models/{name}/infer", body, key=key)
    ends = time.monotonic() + wait
    while job := found.get("status_url"):
        if time.monotonic() >= ends:
            raise CallFailed(f"job {found['id']} has no answer yet after {wait:.0f} s, and goes on; its answer will be at {job}")
        sleep(_POLL_SECONDS)
        try:
            found = call(deployment, "GET", job.removeprefix("/"), key=key)
        except CallFailed as error:
            raise CallFailed(f"{error}. That was asked of {job}, which may be asked again") from None
    return found


def unserved(deployment: Deployment, name: str) -> bool:
    """Whether `make run` serves no such model, since its folder is newer; False also where that can't be asked, and on AWS."""
    if not deployment.local:
        return False
    try:
        return name not in call(deployment, "GET", "v2/models").get("models", [name])
    except CallFailed:
        return False


def key_of(deployment: Deployment, key: str | None = None) -> str:
    """The key to call with: `key`, or the deployment's own, or MODEL_KEY. Raises `CallFailed` when there is none."""
    found = key or deployment.key or os.environ.get("MODEL_KEY")
    if not found:
        advice = "give MODEL_KEY or --key one that `modelctl client create NAME --models A,B` or `modelctl client rotate NAME` shows"
        raise CallFailed("the API wants a client's key, and there is none; " + ("run: make run" if deployment.local else advice))
    try:
        return presented(f"Bearer {found}")[1]
    except Refused:  # not repeated: it may be most of a key
        expected = "sox.<client>.<43 characters>, as `modelctl client create` showed it"
        raise CallFailed(f"what is given is no client's key; expected {expected}") from None


def _read(status: int, content: bytes) -> Any:
    try:
        document = orjson.loads(content) if content else {}
    except orjson.JSONDecodeError:
        document = {"error": f"not JSON: {content[:200]!r}"}
    if status >= 400 or "error" in document:
        reason = document.get("error") or document.get("message") or document
        raise CallFailed(f"the API answered {status}: {reason}{_ADVICE.get(status, '')}")
    return document
