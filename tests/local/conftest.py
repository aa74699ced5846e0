from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools.local.stack import LocalStack

if TYPE_CHECKING:
    from tests.local.callers import Ask
    from tests.local.releases import Served


@pytest.fixture(scope="session", autouse=True)
def _moto(moto_services: None, kms_keys: None) -> None:
    """Nearly all tests here have a server of it."""


@pytest.fixture
def ask(local: LocalStack) -> "Ask":
    """Calls the whole app with any key, or with none."""
    from tests.local.callers import asking

    return asking(local)


@pytest.fixture(scope="session")
def client(local: LocalStack) -> str:
    """The key of a client of one model."""
    from tests.local.callers import MINE

    return local.new_client("one-model", models=(MINE,))


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The repository's stacks with a model for each test that moves or breaks one; nothing is published."""
    from tests.local.releases import NAME, assembly

    with LocalStack(assembly(tmp_path_factory.mktemp("cdk.out")), NAME) as stack:
        yield stack


@pytest.fixture
def served(release: LocalStack, tmp_path: Path) -> "Callable[[str], Served]":
    """One of its models by name."""
    from tests.local.releases import Served

    return lambda name: Served(release, name, tmp_path)
