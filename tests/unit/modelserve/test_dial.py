"""A connection that is begun by itself, and used by what is imported after it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from modelserve import _dial
from modelserve._connections import Connections, KeptConnection
from modelserve._dial import Dial

from .ranged import ranged


@contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


def closed() -> str:
    with listening() as (_, url):
        return url


def test_it_imports_nothing_that_takes_long():
    program = "import sys; from modelserve._dial import Dial; print(*sys.modules)"
    imported = subprocess.check_output([sys.executable, "-S", "-c", program], env={"PYTHONPATH": ":".join(sys.path)}, text=True).split()
    assert {"modelserve._dial", "_socket"} <= set(imported)
    assert not {"enum", "select", "selectors", "socket", "ssl", "threading"} & set(imported)


def test_what_was_dialled_is_the_connection_that_is_used():
    with ranged(bytes(10)) as server:
        dials = [Dial(server.url), Dial(server.url)]
        connections = Connections.to(server.url)
        connections.open(2, dials)
        for _ in range(3):
            with connections.request("GET", "/", {}, timeout=5, ends=time.monotonic() + 5) as answer:
                assert answer.read() == bytes(10)
        connections.close()
        assert server.connections <= 2


def test_a_time_out_is_of_the_socket_that_is_made_of_it():
    with listening() as (listener, url):
        kept = KeptConnection()
        kept.open(url.removeprefix("http://"), secure=False, dial=Dial(url))
        begun = time.monotonic()
        with pytest.raises(TimeoutError), kept.request("GET", "h", "/", {}, secure=False, timeout=0.2, ends=begun + 5):
            pytest.fail("nobody has answered")
        assert time.monotonic() - begun >= 0.2
        listener.accept()[0].close()


def test_one_that_is_refused_is_told_by_the_request():
    url = closed()
    with pytest.raises(ConnectionRefusedError):
        Dial(url).descriptor()
    connections = Connections.to(url)
    connections.open(1, [Dial(url)])
    with (
        pytest.raises(ConnectionError, match="no connection"),
        connections.request("GET", "/", {}, timeout=5, ends=time.monotonic() + 5),
    ):
        pass


def test_a_host_that_there_is_not_is_an_error(monkeypatch):
    def unknown(*_: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(_dial, "getaddrinfo", unknown)
    with pytest.raises(OSError, match="Name or service not known"):
        Dial("https://nowhere.invalid").descriptor()
    monkeypatch.setattr(_dial, "getaddrinfo", lambda *_: [])
    with pytest.raises(OSError, match="no address"):
        Dial("https://nowhere.invalid").descriptor()


def test_a_host_is_tried_at_each_of_its_addresses(monkeypatch):
    with listening() as (listener, url):
        refused, open_ = ("127.0.0.1", int(closed().rpartition(":")[2])), listener.getsockname()
        monkeypatch.setattr(_dial, "getaddrinfo", lambda *_: [(socket.AF_INET, socket.SOCK_STREAM, 0, "", at) for at in (refused, open_)])
        with socket.socket(fileno=Dial(url).descriptor()) as connection:
            assert connection.getpeername() == open_


def test_an_address_of_a_family_that_there_is_not_is_passed_over(monkeypatch):
    with listening() as (listener, url):
        found = [(-1, socket.SOCK_STREAM, 0, "", ("::1", 9)), (socket.AF_INET, socket.SOCK_STREAM, 0, "", listener.getsockname())]
        monkeypatch.setattr(_dial, "getaddrinfo", lambda *_: found)
        with socket.socket(fileno=Dial(url).descriptor()) as connection:
            assert connection.getpeername() == listener.getsockname()


@pytest.mark.parametrize("url", ["http://[::1]:9", "https://bücher.example"])
def test_a_host_that_is_none_is_an_error_like_any_other(url, capfd):
    with pytest.raises(OSError, match=r"invalid literal|ordinal not in range"):
        Dial(url).descriptor()
    assert capfd.readouterr().err == ""
