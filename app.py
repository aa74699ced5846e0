"""The deployments of this repository; `cdk synth` runs this file."""

from __future__ import annotations

import sys

from aws_cdk import App

from models.config import ModelConfig, ModelConfigError
from stacks.deployment import Deployment
from stacks.functions import LayerMissing
from stacks.settings import DEV, PROD


def main() -> None:
    """Raises `ModelConfigError` for a model.toml that can't be deployed, `LayerMissing` before the first build."""
    models = ModelConfig.load_all()
    app = App()
    Deployment(app, settings=DEV, models=models)
    Deployment(app, settings=PROD, models=models)
    app.synth()


if __name__ == "__main__":
    try:
        main()
    except (ModelConfigError, LayerMissing) as error:
        sys.exit(str(error))
