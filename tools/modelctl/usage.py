"""A client's place in API Gateway: the key by whose value a usage plan throttles and meters it, and which opens nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

__all__ = ["UsageKeys"]


class UsageKeys:
    """API Gateway's keys, each in one of `plans`: the ids of usage plans by name."""

    def __init__(self, apigateway: Any, plans: Mapping[str, str]) -> None:
        self._apigateway = apigateway
        self._plans = plans

    def create(self, client: str, identifier: str) -> str:
        """The id of a new key whose value is `identifier`; in no plan yet."""
        description = "What a usage plan counts this client by; made by modelctl client, and opens nothing"
        name = f"client {client}"
        return str(self._apigateway.create_api_key(name=name, description=description, value=identifier, enabled=True)["id"])

    def exists(self, key_id: str) -> bool:
        """Whether there is such a key."""
        if not key_id:
            return False
        try:
            self._apigateway.get_api_key(apiKey=key_id)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NotFoundException":
                return False
            raise
        return True

    def delete(self, key_id: str) -> None:
        """Also out of its plan; one that is gone already is no error."""
        if self.exists(key_id):
            self._apigateway.delete_api_key(apiKey=key_id)

    def is_in(self, key_id: str, plan: str) -> bool:
        """Whether the plan of this name counts the key."""
        return self._plans.get(plan) in self._found(key_id)

    def put(self, key_id: str, plan: str) -> None:
        """Into this plan alone; a stage takes a key in one plan only, so that between the two it is in none."""
        before = self._found(key_id)
        wanted = self._plans[plan]
        left = [each for each in before if each in self._plans.values() and each != wanted]
        for each in left:
            self._apigateway.delete_usage_plan_key(usagePlanId=each, keyId=key_id)
        try:
            if wanted not in before:
                self._add(key_id, wanted)
        except BaseException:  # Ctrl-C too: a client in no plan is locked out
            for each in left:
                self._add(key_id, each)
            raise

    def _found(self, key_id: str) -> list[str]:
        pages = self._apigateway.get_paginator("get_usage_plans").paginate(keyId=key_id)
        return [plan["id"] for page in pages for plan in page["items"]]

    def _add(self, key_id: str, plan_id: str) -> None:
        self._apigateway.create_usage_plan_key(usagePlanId=plan_id, keyId=key_id, keyType="API_KEY")
