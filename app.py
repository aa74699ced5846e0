"""The deployments of this repository; `cdk synth` runs this file."""

from __future__ import annotations

import sys
from pathlib import Path

from aws_cdk import App

from models.config import MODELS, ModelConfig, ModelConfigError
from stacks.deployment import Deployment
from stacks.settings import DEV, PROD
from stacks.zip_functions import LayerMissing


def main(folder: Path = MODELS) -> None:
    """Every folder in `folder` with a model.toml becomes part of every deployment."""
    try:
        models = ModelConfig.load_all(folder)
        app = App()
        Deployment(app, settings=DEV, models=models)
        Deployment(app, settings=PROD, models=models)
        app.synth()
    except (ModelConfigError, LayerMissing) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
