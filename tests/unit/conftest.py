from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# A shared machine is slow at times; what counts is that these run at all, and the same everywhere.
settings.register_profile("suite", deadline=None, max_examples=75, suppress_health_check=[HealthCheck.too_slow], database=None)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def moto_url(moto_services: None) -> Iterator[str]:
    """AWS's services on loopback. Moto has one state for a process: who makes a table takes it away again."""
    from moto.server import ThreadedMotoServer  # takes a second, which most tests here have no use for

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()
