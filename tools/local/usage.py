"""Usage plans: how fast and how often a client may call, as API Gateway counts it by API key.

Source: API Gateway Developer Guide, "Usage plans and API keys for REST APIs"; "Throttle requests to your REST APIs" has the token bucket.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tools.local.authorizer import Refused
from tools.local.errors import LocalError

__all__ = ["Plan", "Usage", "plans_by_key"]

_FRESH_SECONDS = 1.0
"""How old the knowledge of keys and plans may be."""
_DAY = 24 * 60 * 60


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one key may do; None is without end."""

    rate: float | None = None
    """Requests a second, refilled steadily."""
    burst: float | None = None
    """Requests at once."""
    per_day: int | None = None
    """Requests until midnight UTC."""


@dataclass
class _Count:
    """Of one key."""

    tokens: float
    filled: float
    day: int
    requests: int = 0


class Usage:
    """Counts the requests of each API key against its plan; a plan counts only where it names the API's stage."""

    def __init__(self, plans: Callable[[], dict[str, Plan]], *, clock: Callable[[], float] = time.time) -> None:
        """`plans` by the value of each key that is enabled and has one; asked for again when what it said is a second old."""
        self._read = plans
        self._clock = clock
        self._lock = threading.Lock()
        self._plans: dict[str, Plan] = {}
        self._read_at = float("-inf")
        self._counts: dict[str, _Count] = {}

    def count(self, key: str | None) -> None:
        """One request; one that is refused does not count against the quota. Raises `Refused`."""
        with self._lock:
            plan = self._plan(key)
            if key is None or plan is None:
                raise Refused("INVALID_API_KEY")
            now = self._clock()
            count = self._counts.setdefault(key, _Count(tokens=plan.burst or 0, filled=now, day=int(now // _DAY)))
            _take_token(count, plan, now)
            _take_of_day(count, plan, now)

    def _plan(self, key: str | None) -> Plan | None:
        """A key that is not known may have been made just now."""
        now = self._clock()
        if key not in self._plans or now - self._read_at > _FRESH_SECONDS:
            self._plans, self._read_at = self._read(), now
        return self._plans.get(key) if key else None


def _take_token(count: _Count, plan: Plan, now: float) -> None:
    if plan.rate is None or plan.burst is None:
        return
    count.tokens = min(plan.burst, count.tokens + (now - count.filled) * plan.rate)
    count.filled = now
    if count.tokens < 1:
        raise Refused("THROTTLED")
    count.tokens -= 1


def _take_of_day(count: _Count, plan: Plan, now: float) -> None:
    if (today := int(now // _DAY)) != count.day:
        count.day, count.requests = today, 0
    if plan.per_day is not None and count.requests >= plan.per_day:
        raise Refused("QUOTA_EXCEEDED")
    count.requests += 1


def plans_by_key(apigateway: Any, api_id: str, stage: str) -> dict[str, Plan]:
    """What `apigateway`, a boto3 client, knows of one stage. Raises `LocalError` for a quota of another period than a day."""
    keys = apigateway.get_paginator("get_api_keys").paginate(includeValues=True).search("items[]")
    enabled = {key["id"]: key["value"] for key in keys if key["enabled"]}
    plans = [plan for plan in apigateway.get_paginator("get_usage_plans").paginate().search("items[]") if _holds(plan, api_id, stage)]
    return {
        enabled[key["id"]]: _plan(plan)
        for plan in plans
        for key in apigateway.get_paginator("get_usage_plan_keys").paginate(usagePlanId=plan["id"]).search("items[]")
        if key["id"] in enabled
    }


def _holds(plan: Mapping[str, Any], api_id: str, stage: str) -> bool:
    return any((each["apiId"], each["stage"]) == (api_id, stage) for each in plan.get("apiStages", ()))


def _plan(document: Mapping[str, Any]) -> Plan:
    throttle, quota = document.get("throttle", {}), document.get("quota", {})
    if quota and quota["period"] != "DAY":
        raise LocalError(f"usage plan {document['name']} has a quota by {quota['period']}; the local runner counts by DAY")
    return Plan(rate=throttle.get("rateLimit"), burst=throttle.get("burstLimit"), per_day=quota.get("limit"))
