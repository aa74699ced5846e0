"""The whole app as a fixture: a test that takes `local` talks to real function processes behind the template's routes.

What botocore, typer and moto find out or make anew for each session, command and request is found out or made once for a worker.
"""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from botocore.compat import accepts_kwargs
from botocore.hooks import EventAliaser
from botocore.loaders import Loader
from typer.main import get_command

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


@pytest.fixture(scope="session", autouse=True)
def service_models() -> Iterator[None]:
    """Botocore finds and reads its descriptions of AWS's services once: every session of its own would take half of a test's time."""
    known: dict[tuple[Any, ...], Any] = {}

    def once(name: str) -> Any:
        read = getattr(Loader, name)

        def remembered(self: Loader, *arguments: Any, **named: Any) -> Any:
            key = (name, *self.search_paths, *arguments, *sorted(named.items()))
            if key not in known:
                known[key] = read(self, *arguments, **named)
            return known[key]

        return remembered

    with pytest.MonkeyPatch.context() as patch:
        for name in ("load_data_with_path", "list_available_services", "load_service_model"):
            patch.setattr(Loader, name, once(name))
        yield


@pytest.fixture(scope="session", autouse=True)
def event_names() -> Iterator[None]:
    """What a botocore event is called, and whether a function that hears of it takes any argument, is the same in every session."""
    takes: dict[Any, Any] = {}

    def asked_once(function: Any) -> Any:
        code = getattr(function, "__code__", None)
        if code is None:
            return accepts_kwargs(function)
        return takes[code] if code in takes else takes.setdefault(code, accepts_kwargs(function))

    names: dict[str, str] = {}
    aliased = EventAliaser._alias_event_name  # type: ignore[attr-defined]

    def named_once(self: EventAliaser, name: str) -> str:
        return names[name] if name in names else names.setdefault(name, aliased(self, name))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.hooks.accepts_kwargs", asked_once)
        patch.setattr(EventAliaser, "_alias_event_name", named_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def command_line() -> Iterator[None]:
    """A test's runner reads the signatures of all commands anew for each that it runs; a process of modelctl's does it once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", cache(get_command))
        yield


@pytest.fixture(scope="session")
def moto_services() -> Iterator[None]:
    """For who starts moto's server, which looks at each of its two hundred folders with every request: it looks once."""
    from moto.backends import list_of_moto_modules  # takes a second, which most tests have no use for

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moto.backends.list_of_moto_modules", cache(lambda: tuple(list_of_moto_modules())))
        yield


@pytest.fixture(scope="session")
def moto_urls() -> Iterator[None]:
    """For who mocks AWS in its own process: moto reads S3's addresses anew for each request, which takes as long as the request."""
    from moto.core.base_backend import BaseBackend

    read: Any = BaseBackend.urls
    urls: dict[type, Any] = {}

    def read_once(self: BaseBackend) -> Any:
        kind = type(self)
        return urls[kind] if kind in urls else urls.setdefault(kind, read.fget(self))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseBackend, "urls", property(read_once))
        yield


@pytest.fixture(scope="session")
def kms_keys() -> Iterator[None]:
    """For who makes keys in moto's KMS: a new one takes a third of a second, so there are four of a kind, given out in turn."""
    from moto.kms.utils import generate_private_key

    made: defaultdict[str, deque[Any]] = defaultdict(deque)

    def given(kind: str) -> Any:
        keys = made[kind]
        keys.append(generate_private_key(kind) if len(keys) < 4 else keys.popleft())
        return keys[-1]

    with pytest.MonkeyPatch.context() as patch:
        for module in ("moto.kms.models", "tools.local.moto_kms"):
            patch.setattr(f"{module}.generate_private_key", given)
        yield


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
