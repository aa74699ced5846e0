import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

# jsii starts `node`; the environment brings one.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

from models.config import ModelConfig
from stacks.settings import DEV, PROD, DeploymentSettings
from tests.stacks.factories import CHANGED, HEAVY, SIZED, Templates, a_model, synthesize
from tools import layers

Synthesize = Callable[..., Templates]


@pytest.fixture(scope="session")
def synthesized(tmp_path_factory: pytest.TempPathFactory) -> Synthesize:
    """Synthesizes a deployment; the same one only once."""
    layers.build()

    @cache
    def make(settings: DeploymentSettings = DEV, *models: ModelConfig) -> Templates:
        return synthesize(settings, models or (a_model(),), folder=tmp_path_factory.mktemp("cdk.out"))

    return make


@pytest.fixture(scope="session")
def dev(synthesized: Synthesize) -> Templates:
    """The development deployment with one model."""
    return synthesized(DEV)


@pytest.fixture(scope="session")
def changed(synthesized: Synthesize) -> Templates:
    """Dev with other settings than usual and models of several sizes, for all tests of what one of them does: a synth takes a second."""
    return synthesized(CHANGED, *SIZED)


@pytest.fixture(scope="session")
def heavy(synthesized: Synthesize) -> Templates:
    """Prod with two models on the shared endpoint, one on its own, and one on Lambda."""
    return synthesized(PROD, *HEAVY)
