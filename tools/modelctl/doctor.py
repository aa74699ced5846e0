"""Says what is missing before a deployment works, and which command puts it right."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from models.config import ModelConfig
from modelserve.clients import ALL_MODELS, Client, presented
from modelserve.errors import ServeError, UnverifiedModel
from tools.modelctl import api, heavy
from tools.modelctl.checks import Check, State, attempt
from tools.modelctl.deployment import CONFIG, Deployment, find, open_session, stack_name, stack_outputs
from tools.modelctl.errors import CallFailed, DeploymentNotFound, ModelctlError

__all__ = ["Check", "examine"]

BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
"""Written by `cdk bootstrap`; hnb659fds is CDK's default qualifier."""
UNRESERVED = 100
"""Concurrency that Lambda keeps free of reservations."""
SMALL_MEMORY = 3008
"""MB; the most that AWS gives a function of some new accounts. No API tells."""
_INCREASE = "aws service-quotas request-service-quota-increase --service-code lambda --quota-code L-B99A9384 --desired-value 1000"


def examine(name: str, models: Sequence[ModelConfig], *, profile: str | None = None) -> Iterator[Check]:
    """Each check as it is made; those that can't be made without an earlier one are left out."""
    if name != "local":
        session = open_session(profile)
        access = list(_access(session))
        yield from access
        if any(check.state == "fail" for check in access):
            return
        yield from _account(name, session, models)
    try:
        deployment = find(name, profile=profile)
    except DeploymentNotFound as error:
        yield Check(what="deployment", state="fail", found=error.reason, fix=error.command)
        return
    except (ClientError, BotoCoreError) as error:
        yield Check(
            what="deployment", state="fail", found=str(error), fix="check that these credentials may call cloudformation:DescribeStacks"
        )
        return
    yield Check(what="deployment", state="ok", found=f"bucket {deployment.bucket}")
    yield from _store(deployment, models)
    try:
        yield from heavy.examine(deployment, models)
    except (ServeError, ClientError, BotoCoreError) as error:
        advice = "check that these credentials may read the model store, CloudFormation's stacks and SageMaker's endpoints"
        yield Check(what="GPU endpoints", state="warn", found=str(error), fix=advice)
    clients = yield from _clients(deployment)
    yield from _api(deployment, models, clients)


def _access(session: boto3.Session) -> Iterator[Check]:
    if not session.region_name:
        yield Check(what="region", state="fail", found="not set", fix="export AWS_REGION=us-east-1")
        return
    yield Check(what="region", state="ok", found=session.region_name)
    yield attempt("credentials", "aws configure sso", partial(_identity, session))


def _account(name: str, session: boto3.Session, models: Sequence[ModelConfig]) -> Iterator[Check]:
    yield attempt("CDK bootstrap", "cdk bootstrap", partial(_bootstrap, session))
    # Without a model on Lambda there is nothing that could run a job, and no stack for it.
    for stack in ("Store", *(["Batch"] if any(model.target == "lambda" for model in models) else []), "Serving"):
        yield attempt(f"stack {stack}", _deploy(name), partial(_stack, session, name, stack))
    yield attempt("Lambda concurrency", "", partial(_concurrency, session, models), refused="warn")
    yield _memory(models)


def _identity(session: boto3.Session) -> Check:
    return Check(what="credentials", state="ok", found=session.client("sts", config=CONFIG).get_caller_identity()["Arn"])


def _bootstrap(session: boto3.Session) -> Check:
    client: Any = session.client("ssm", config=CONFIG)
    try:
        version = client.get_parameter(Name=BOOTSTRAP_PARAMETER)["Parameter"]["Value"]
    except client.exceptions.ParameterNotFound:
        return Check(what="CDK bootstrap", state="fail", found=f"never done in {session.region_name}", fix="cdk bootstrap")
    return Check(what="CDK bootstrap", state="ok", found=f"version {version}")


def _stack(session: boto3.Session, name: str, stack: str) -> Check:
    outputs = stack_outputs(session.client("cloudformation", config=CONFIG), stack_name(name, stack))
    what = f"stack {stack}"
    if outputs is None:
        return Check(what=what, state="fail", found=f"{stack_name(name, stack)} is not deployed", fix=_deploy(name))
    return Check(what=what, state="ok", found=stack_name(name, stack))


def _concurrency(session: boto3.Session, models: Sequence[ModelConfig]) -> Check:
    limit = session.client("lambda", config=CONFIG).get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    reserved = sum(model.function.reserved_concurrency or model.function.provisioned_concurrency for model in models)
    if reserved and reserved > limit - UNRESERVED:
        found = f"{limit} environments, of which {UNRESERVED} stay unreserved, and model.toml files reserve {reserved}"
        return Check(what="Lambda concurrency", state="fail", found=found, fix=_INCREASE)
    state: State = "warn" if limit < UNRESERVED else "ok"
    found = f"{limit} environments at once, about {10 * limit:,} requests a second at most"
    return Check(what="Lambda concurrency", state=state, found=found, fix=_INCREASE if state == "warn" else "")


def _memory(models: Sequence[ModelConfig]) -> Check:
    large = [model.name for model in models if model.function.memory > SMALL_MEMORY]
    if not large:
        return Check(what="Lambda memory", state="ok", found=f"no model asks for more than {SMALL_MEMORY} MB")
    fix = f"if the deployment is refused: memory = {SMALL_MEMORY} in model.toml, or a case in the AWS Support Center"
    found = f"over {SMALL_MEMORY} MB, which new accounts may lack: {', '.join(large)}"
    return Check(what="Lambda memory", state="warn", found=found, fix=fix)


def _store(deployment: Deployment, models: Sequence[ModelConfig]) -> Iterator[Check]:
    registry = deployment.registry()
    where = deployment.option
    for model in models:
        what = f"model {model.name}"
        try:
            versions, aliases, damaged = registry.versions(model.name), registry.aliases(model.name), registry.damaged(model.name)
        except ServeError as error:
            yield Check(what="model store", state="fail", found=str(error), fix=f"check the role's access to bucket {deployment.bucket}")
            return
        for alias, damage in damaged.items():
            again = f"modelctl promote {model.name} VERSION --alias {alias}{where}" if isinstance(damage, UnverifiedModel) else ""
            yield Check(what=f"{what}, {alias}", state="fail", found=f"its alias is damaged: {damage}", fix=again)
        if "production" in damaged:
            continue
        if "production" in aliases:
            yield Check(what=what, state="ok", found=f"serves {aliases['production'].version}")
        elif versions:
            yield Check(what=what, state="fail", found="nothing is promoted", fix=f"modelctl promote {model.name} latest{where}")
        else:
            yield Check(what=what, state="fail", found="nothing is published", fix=f"modelctl publish {model.name}{where}")


def _clients(deployment: Deployment) -> Generator[Check, None, list[Client]]:
    """Those who may call the API, as far as that can be seen."""
    where = deployment.option
    try:
        clients = deployment.clients()
        found = [client for client in clients.list() if client.revoked is None]
        outside = [client.client for client in found if not clients.in_plan(client)]
    except (ModelctlError, ClientError, BotoCoreError) as error:
        advice = "check that these credentials may read the table of clients and API Gateway's usage plans"
        yield Check(what="clients", state="warn", found=str(error), fix=advice)
        return []
    if not found:
        yield Check(
            what="clients", state="fail", found="nobody may call the API yet", fix=f"modelctl client create NAME --models '*'{where}"
        )
    for name in outside:
        again = f"modelctl client update {name}{where}"
        yield Check(what=f"client {name}", state="fail", found="is in no usage plan of the API, which refuses it", fix=again)
    if found and not outside:
        yield Check(what="clients", state="ok", found=f"{len(found)} may call the API")
    return found


def _api(deployment: Deployment, models: Sequence[ModelConfig], clients: Sequence[Client]) -> Iterator[Check]:
    fix = "make run" if deployment.local else _deploy(deployment.name)
    try:
        key = api.key_of(deployment)
    except CallFailed as error:
        yield Check(what="API", state="warn", found=f"not asked: {error}", fix="export MODEL_KEY=...")
        return
    try:
        served = api.call(deployment, "GET", "v2/models").get("models", ())
        for name in _expected(models, clients, key):
            if name not in served:
                again = "stop `make run`, then: make run" if deployment.local else fix
                yield Check(what=f"function {name}", state="fail", found="the API has no such model yet", fix=again)
        api.call(deployment, "GET", "v2/health/ready")
    except CallFailed as error:
        yield Check(what="API", state="fail", found=str(error), fix=fix)
        return
    yield Check(what="API", state="ok", found=str(deployment.url))


def _expected(models: Sequence[ModelConfig], clients: Sequence[Client], key: str) -> list[str]:
    """The models that the API must list to the client of this key."""
    name, _ = presented(f"Bearer {key}")
    own = next((client.models for client in clients if client.client == name), (ALL_MODELS,))
    return [model.name for model in models if model.name in own or ALL_MODELS in own]


def _deploy(name: str) -> str:
    return f"cdk deploy '{name}/*'"
