"""A deployment: its model store and what serves from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import Stage
from constructs import Construct

from models.config import ModelConfig

from .serving import Serving
from .settings import APPLICATION, DeploymentSettings
from .store import Store

__all__ = ["Deployment"]


class Deployment(Stage):
    """Deployed in this order: store, then serving; models are published to the store in between or after."""

    def __init__(self, scope: Construct, *, settings: DeploymentSettings, models: Sequence[ModelConfig]) -> None:
        super().__init__(scope, settings.name)
        common: dict[str, Any] = {
            "settings": settings,
            "termination_protection": settings.production,
            # Of the stack, so that CloudFormation puts them on every resource it makes.
            "tags": {"Application": APPLICATION, "Deployment": settings.name},
        }
        prefix = f"{APPLICATION}-{settings.name}"
        self.store = Store(self, "Store", stack_name=f"{prefix}-Store", **common)
        self.serving = Serving(self, "Serving", stack_name=f"{prefix}-Serving", store=self.store, models=models, **common)
