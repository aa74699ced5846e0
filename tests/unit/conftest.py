from collections.abc import Iterator
from typing import Any

import pytest
from botocore.loaders import Loader
from hypothesis import HealthCheck, settings

# A shared machine is slow at times; what counts is that these run at all, and the same everywhere.
settings.register_profile("suite", deadline=None, max_examples=75, suppress_health_check=[HealthCheck.too_slow], database=None)
settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def service_models() -> Iterator[None]:
    """Botocore reads its descriptions of AWS's services once for a worker: every session of its own would take half of a test's time."""
    known: dict[tuple[str, ...], Any] = {}
    read = Loader.load_data_with_path

    def remembered(self: Loader, name: str) -> Any:
        key = (*self.search_paths, name)
        if key not in known:
            known[key] = read(self, name)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loader, "load_data_with_path", remembered)
        yield


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """AWS's services on loopback. Moto has one state for a process: who makes a table takes it away again."""
    from moto.server import ThreadedMotoServer  # takes a second, which most tests here have no use for

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()
