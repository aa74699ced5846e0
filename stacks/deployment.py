"""A deployment: its model store, what runs its jobs, what serves from it, and what runs the heavy models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import Stage
from constructs import Construct

from models.config import ModelConfig

from .batch import Batch
from .examples import Examples
from .gpu import Gpu
from .serving import Serving
from .settings import APPLICATION, DeploymentSettings
from .store import Store

__all__ = ["Deployment"]


class Deployment(Stage):
    """Deployed in this order: store, batch, serving, GPU and examples; models are published once the store is there."""

    def __init__(self, scope: Construct, *, settings: DeploymentSettings, models: Sequence[ModelConfig]) -> None:
        super().__init__(scope, settings.name)
        common: dict[str, Any] = {
            "settings": settings,
            # Of the stack, so that CloudFormation puts them on every resource it makes.
            "tags": {"Application": APPLICATION, "Deployment": settings.name},
        }
        prefix = f"{APPLICATION}-{settings.name}"
        protected = settings.production
        self.store = Store(self, "Store", stack_name=f"{prefix}-Store", termination_protection=protected, **common)
        common |= {"store": self.store, "models": models}
        self.batch = Batch(self, "Batch", stack_name=f"{prefix}-Batch", termination_protection=protected, **common)
        self.serving = Serving(self, "Serving", stack_name=f"{prefix}-Serving", termination_protection=protected, **common)
        self.serving.add_stack_dependency(self.batch)  # which takes the jobs that it sends
        # Not protected: it keeps nothing, and the CLI must be able to delete it once it is empty, lest it go on costing.
        self.gpu = Gpu(self, "Gpu", stack_name=f"{prefix}-Gpu", **common)
        self.gpu.add_stack_dependency(self.serving)
        self.examples = Examples(self, "Examples", stack_name=f"{prefix}-Examples", **common)
        self.examples.add_stack_dependency(self.serving)  # and so on what Serving depends on
