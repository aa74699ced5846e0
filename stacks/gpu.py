"""What runs the heavy models: everything here can be deleted, and costs while it is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import CfnCondition, CfnOutput, CfnParameter, CfnResource, Fn
from constructs import Construct

from models.config import ModelConfig

from .endpoints import AsyncEndpoint, RealtimeEndpoint
from .optional_stack import OptionalStack
from .settings import DeploymentSettings
from .store import Store
from .triton import TritonImage

__all__ = ["NO_VERSION", "Gpu"]

NO_VERSION = "none"
"""What an async model's parameter says until a version is promoted: there is nothing to make an endpoint of."""

_FREE = ("AWS::IAM::Role", "AWS::Logs::LogGroup")
"""Made before a promotion too, since a stack can't be without any resource."""


class Gpu(OptionalStack):
    """One endpoint for all realtime models, and one for each async model that has been promoted; empty without any, or with `gpu` off."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        store: Store,
        models: Sequence[ModelConfig],
        **kwargs: Any,
    ) -> None:
        heavy = [model for model in models if model.target == "gpu"] if settings.gpu else []
        super().__init__(scope, construct_id, description=f"GPU endpoints of {settings.name}", empty=not heavy, **kwargs)
        self.add_stack_dependency(store)
        if not heavy:
            return
        common: dict[str, Any] = {"store": store, "image": TritonImage(self), "settings": settings}
        if realtime := [model for model in heavy if model.realtime]:
            RealtimeEndpoint(self, "Realtime", models=realtime, **common)
            CfnOutput(self, "GpuEndpoint", value=settings.endpoint_name(realtime[0]), description="The endpoint of the realtime models")
        if jobs := [model for model in heavy if model.asynchronous]:
            found = {model.name: self._async_endpoint(model, **common) for model in jobs}
            CfnOutput(self, "AsyncEndpoints", value=self.to_json_string(found), description="Of each async model, for modelctl promote")
        CfnOutput(
            self, "NextCommand", value=f"modelctl doctor --deployment {settings.name}", description="Says what is missing, if anything"
        )

    def _async_endpoint(self, model: ModelConfig, **common: Any) -> dict[str, str]:
        """The name of the endpoint, and of the parameter that a promotion changes."""
        name = "".join(part.title() for part in model.name.split("_"))
        parameter = CfnParameter(
            self,
            f"{name}Version",
            default=NO_VERSION,
            allowed_pattern=rf"{NO_VERSION}|\d{{8}}T\d{{6}}Z-[0-9a-f]{{8}}",
            description=f"The version of {model.name} that runs; modelctl promote changes it",
        )
        promoted = CfnCondition(
            self, f"{name}Promoted", expression=Fn.condition_not(Fn.condition_equals(parameter.value_as_string, NO_VERSION))
        )
        endpoint = AsyncEndpoint(self, name, model=model, version=parameter.value_as_string, **common)
        for each in endpoint.node.find_all():
            if isinstance(each, CfnResource) and each.cfn_resource_type not in _FREE:
                each.cfn_options.condition = promoted
        return {"endpoint": endpoint.name, "parameter": parameter.logical_id}
