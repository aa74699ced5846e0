"""Calls a deployed API as its clients do: signed with AWS credentials, or plainly on this machine."""

from __future__ import annotations

from typing import Any

import orjson
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, NoCredentialsError
from botocore.httpsession import URLLib3Session

from tools.modelctl.deployment import Deployment
from tools.modelctl.errors import CallFailed

__all__ = ["call"]

_TIMEOUT = 35
"""Seconds; API Gateway gives up after 29."""


def call(deployment: Deployment, method: str, path: str, body: bytes | None = None) -> Any:
    """The answer's JSON. `path` has no slash in front. Raises `CallFailed` with what the API says was wrong."""
    if deployment.url is None:
        raise CallFailed(f"{deployment.name} has a model store but no API yet; run: cdk deploy '{deployment.name}/*'")
    request = AWSRequest(method, deployment.url + path, data=body, headers={"Content-Type": "application/json"} if body else {})
    if not deployment.local:
        _sign(request, deployment)
    try:
        answer = URLLib3Session(timeout=_TIMEOUT).send(request.prepare())
    except BotoCoreError as error:
        raise CallFailed(f"{deployment.url} could not be reached: {error}; `modelctl doctor` says what is missing") from None
    return _read(answer.status_code, answer.content)


def _sign(request: AWSRequest, deployment: Deployment) -> None:
    credentials = deployment.session.get_credentials()
    if credentials is None:
        raise NoCredentialsError
    SigV4Auth(credentials.get_frozen_credentials(), "execute-api", deployment.region).add_auth(request)


def _read(status: int, content: bytes) -> Any:
    try:
        document = orjson.loads(content) if content else {}
    except orjson.JSONDecodeError:
        document = {"error": f"not JSON: {content[:200]!r}"}
    if status >= 400 or "error" in document:
        reason = document.get("error") or document.get("message") or document
        advice = "; `modelctl doctor` names what is not deployed" if status == 404 else ""
        raise CallFailed(f"the API answered {status}: {reason}{advice}")
    return document
