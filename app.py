"""The deployments of this repository; `cdk synth` runs this file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from aws_cdk import App

from models.config import MODELS, ModelConfig, ModelConfigError
from stacks.deployment import Deployment
from stacks.settings import DEV, PROD, DeploymentSettings, EndpointNameError, FunctionNameError
from stacks.zip_functions import LayerMissing


class ContextError(Exception):
    """`-c gpu=` was given something else than on or off."""

    def __init__(self, value: object) -> None:
        super().__init__(f"the context gpu is {value!r}; expected on or off: cdk deploy 'dev/*' -c gpu=on")


def main(folder: Path = MODELS, context: Mapping[str, str] | None = None) -> None:
    """Every folder in `folder` with a model.toml becomes part of every deployment; `context` is the CLI's unless given."""
    try:
        models = ModelConfig.load_all(folder)
        app = App(context=context)
        for settings in (DEV, PROD):
            Deployment(app, settings=_with_context(settings, app), models=models)
        app.synth()
    except (ContextError, EndpointNameError, FunctionNameError, LayerMissing, ModelConfigError) as error:
        sys.exit(str(error))


def _with_context(settings: DeploymentSettings, app: App) -> DeploymentSettings:
    match app.node.try_get_context("gpu"):
        case None:
            return settings
        case "on" | "off" as switch:
            return replace(settings, gpu=switch == "on")
        case other:
            raise ContextError(other)


if __name__ == "__main__":
    main()
