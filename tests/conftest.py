"""The whole app as a fixture: a test that takes `local` talks to real function processes behind the template's routes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tools.local.stack import LocalStack


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker runs all tests that need the whole app, so that it is started once."""
    for item in items:
        if "local" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("local"))
            if sys.platform != "linux":
                item.add_marker(pytest.mark.skip(reason="the Lambda Runtime Interface Emulator is a Linux program"))


@pytest.fixture(scope="session")
def local() -> Iterator[LocalStack]:
    """The synthesized app, its stacks in moto, every sample model trained, published and promoted."""
    from tools.local.models import Models
    from tools.local.stack import LocalStack
    from tools.local.synth import CDK_OUT, layers, synthesize

    with Models() as models:
        layers()
        synthesize()
        assert [name for name, _ in models.built()], "models/ has no model"
        # What the gateway remembers of a key is forgotten soon, so that no test has to wait a minute for it.
        with LocalStack(CDK_OUT, max_authorizer_ttl=0.5) as stack:
            models.publish(stack.endpoint_url, stack.bucket, signing_key=stack.outputs.get("SigningKey"))
            yield stack
