"""Lets clients into the deployment on this machine, through the same code as `modelctl client`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tools.local.cloud import Cloud
from tools.modelctl.clients import Clients

__all__ = ["create"]


def create(cloud: Cloud, name: str, *, models: Sequence[str], plan: str | None) -> str:
    """The key of a new client; without `plan` in the one with the highest rate."""
    apigateway, dynamodb = cloud.client("apigateway"), cloud.client("dynamodb")
    plans: dict[str, str] = json.loads(cloud.outputs["Plans"])
    clients = Clients(table=cloud.outputs["ClientTable"], dynamodb=dynamodb, apigateway=apigateway, plans=plans)
    return clients.create(name, models=models, plan=plan or _fastest(apigateway, plans), by="make run")


def _fastest(apigateway: Any, plans: Mapping[str, str]) -> str:
    throttles = {name: apigateway.get_usage_plan(usagePlanId=plan_id).get("throttle", {}) for name, plan_id in plans.items()}
    return max(throttles, key=lambda name: float(throttles[name].get("rateLimit", "inf")))
