"""A deployment: its model store and what serves from it."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Stage, Tags
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
        name = f"{APPLICATION}-{settings.name}"
        self.store = Store(self, "Store", settings=settings, stack_name=f"{name}-Store", termination_protection=settings.production)
        self.serving = Serving(
            self,
            "Serving",
            settings=settings,
            store=self.store,
            models=models,
            stack_name=f"{name}-Serving",
            termination_protection=settings.production,
        )
        Tags.of(self).add("Application", APPLICATION)
        Tags.of(self).add("Deployment", settings.name)
