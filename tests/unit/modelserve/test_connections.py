"""A connection that is kept: when the next request finds it open, when it must not, and what failed before an answer began."""

import socket
import threading
import time
from collections.abc import Callable

import pytest

from modelserve import _connections, _http
from modelserve._connections import Connections, KeptConnection
from modelserve._http import BrokenResponse, HttpResponse

from .ranged import ranged
from .servers import CLOSE, HANG, RESET, Scripted, response, scripted

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\nTrailer: x\r\n\r\n"


def ask(kept: KeptConnection, server: Scripted, body: bytes = b"question", *, seconds: float = 5) -> bytes:
    host = server.url.removeprefix("http://")
    ends = time.monotonic() + seconds
    with kept.request("POST", host, "/", {"Host": host}, body, secure=False, timeout=seconds, ends=ends) as answer:
        return answer.read()


@pytest.mark.parametrize("answer", [response(200, b"four"), CHUNKED], ids=["a length", "chunks and what trails them"])
def test_requests_go_over_one_connection(answer):
    kept = KeptConnection()
    with scripted(answer, keep=True) as server:
        assert [ask(kept, server) for _ in range(3)] == [b"four"] * 3
        assert (server.connections, server.bodies) == (1, [b"question"] * 3)


def test_a_peer_that_says_it_closes_is_not_asked_on_that_connection_again():
    kept = KeptConnection()
    with scripted(response(200, b"four", Connection="close") + CLOSE, keep=True) as server:
        assert [ask(kept, server) for _ in range(2)] == [b"four"] * 2
        assert (server.connections, len(server.requests)) == (2, 2)


def test_a_connection_that_the_peer_closed_in_the_meantime_is_opened_anew():
    kept = KeptConnection()
    with scripted(response(200, b"four") + CLOSE, keep=True) as server:
        assert [ask(kept, server) for _ in range(2)] == [b"four"] * 2
        assert server.connections == 2


@pytest.mark.parametrize("fault", [CLOSE, RESET], ids=["closed", "reset"])
def test_a_kept_connection_that_fails_before_an_answer_is_opened_anew_once(fault):
    kept = KeptConnection()
    with scripted(response(200, b"four"), fault, response(200, b"more"), keep=True) as server:
        assert [ask(kept, server) for _ in range(2)] == [b"four", b"more"]
        assert (server.connections, len(server.requests)) == (2, 3)


@pytest.mark.parametrize("fault", [CLOSE, RESET], ids=["closed", "reset"])
def test_a_fresh_connection_that_fails_before_an_answer_is_told(fault):
    with scripted(fault, keep=True) as server:
        with pytest.raises(ConnectionError):
            ask(KeptConnection(), server)
        assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [response(200, b"fo", announced=4) + CLOSE, response(200, b"fo", announced=4) + RESET, b"HTTP" + CLOSE])
def test_what_fails_within_an_answer_is_no_connection_error_and_leaves_no_connection(answer):
    kept = KeptConnection()
    with scripted(response(200, b"four"), answer, response(200, b"more"), keep=True) as server:
        ask(kept, server)
        with pytest.raises(BrokenResponse):
            ask(kept, server)
        assert ask(kept, server) == b"more"
        assert len(server.requests) == 3


@pytest.mark.parametrize("answer", [HANG, response(200, b"fo", announced=4) + HANG], ids=["before an answer", "within one"])
def test_a_time_out_is_one_and_the_connection_is_given_up(answer):
    kept = KeptConnection()
    with scripted(response(200, b"four"), answer, response(200, b"more"), keep=True) as server:
        ask(kept, server)
        with pytest.raises(TimeoutError):
            ask(kept, server, seconds=0.1)
        assert ask(kept, server) == b"more"


def test_bytes_that_belong_to_no_answer_are_never_read_as_the_next_one():
    kept = KeptConnection()
    large = bytes(100_000)  # more than a reader takes ahead
    with scripted(response(200, large) + response(200, b"evil"), response(200, b"more"), keep=True) as server:
        assert ask(kept, server) == large
        assert ask(kept, server) == b"more"


def test_an_answer_that_was_not_read_to_its_end_leaves_no_connection():
    kept = KeptConnection()
    with scripted(response(200, b"four"), response(200, b"more"), keep=True) as server:
        host = server.url.removeprefix("http://")
        with kept.request("POST", host, "/", {}, b"", secure=False, timeout=5, ends=time.monotonic() + 5) as answer:
            assert isinstance(answer, HttpResponse)
        assert ask(kept, server) == b"more"
        assert server.connections == 2


def test_a_connection_is_not_kept_for_long(monkeypatch: pytest.MonkeyPatch):
    kept = KeptConnection()
    with scripted(response(200, b"four"), keep=True) as server:
        ask(kept, server)
        monkeypatch.setattr(_connections, "_IDLE", 0)
        ask(kept, server)
        assert server.connections == 2


def closed() -> str:
    with scripted(b"") as server:
        return server.url


@pytest.mark.parametrize("url", [closed, lambda: "http://nowhere.invalid"], ids=["refused", "no such host"])
def test_without_a_connection_it_is_said_so(url: Callable[[], str]):
    host = url().removeprefix("http://")
    with (
        pytest.raises(ConnectionError, match="no connection"),
        KeptConnection().request("GET", host, "/", {}, secure=False, timeout=5, ends=time.monotonic() + 5),
    ):
        pass


def ask_one_of(connections: Connections) -> bytes:
    with connections.request("GET", "/", {"Host": "x"}, timeout=5, ends=time.monotonic() + 5) as answer:
        return answer.read()


def test_a_connection_that_was_opened_ahead_is_the_one_that_is_used():
    with scripted(response(200, b"four"), keep=True) as server:
        connections = Connections(server.url.removeprefix("http://"), secure=False)
        connections.open(1)
        assert [ask_one_of(connections) for _ in range(3)] == [b"four"] * 3
        connections.close()
        assert server.connections == 1


def test_only_as_many_connections_as_are_missing_are_opened_ahead():
    with ranged(bytes(10)) as server:
        connections = Connections.to(server.url)
        for _ in range(2):
            connections.open(2)
        assert ask_one_of(connections) == bytes(10)
        connections.close()
        ends = time.monotonic() + 5
        while server.connections < 2 and time.monotonic() < ends:  # the server counts on threads of its own
            time.sleep(0.01)
        assert server.connections == 2


def test_a_connection_that_takes_too_long_to_open_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch):
    released, waited, ended = threading.Event(), list[float](), threading.Event()

    def slow(host: str, *, secure: bool, timeout: float, dial: object = None) -> socket.socket:
        waited.append(timeout)
        if len(waited) == 1:  # ahead
            released.wait(10)
            ended.set()
        raise TimeoutError("timed out")

    monkeypatch.setattr(_connections, "connected", slow)
    kept = KeptConnection()
    kept.open("127.0.0.1:9", secure=False)
    ends = time.monotonic() + 0.1
    with pytest.raises(ConnectionError, match="timed out"), kept.request("GET", "h", "/", {}, secure=False, timeout=5, ends=ends):
        pytest.fail("there was no answer")
    assert not ended.is_set()
    assert waited[1] <= 0.1
    released.set()


class Decrypted(socket.socket):
    """A connection over TLS with an answer that nobody asked for."""

    def pending(self) -> int:
        return 7


def test_what_tls_has_decrypted_and_nobody_asked_for_ends_a_connection():
    """A poll sees the socket, where nothing is left to read; it would be taken for the next request's answer."""
    kept = KeptConnection()
    with scripted(response(200, b"four"), keep=True) as server, Decrypted() as idle:
        kept._idle, kept._since = idle, time.monotonic()
        assert ask(kept, server) == b"four"
        assert idle.fileno() == -1


def test_a_connection_that_could_not_be_opened_ahead_is_told_by_the_request():
    connections = Connections(closed().removeprefix("http://"), secure=False)
    connections.open(1)
    with pytest.raises(ConnectionError, match="no connection"):
        ask_one_of(connections)


def test_what_tls_needs_and_is_not_there_is_told_by_the_request(monkeypatch):
    def missing(*_: object) -> None:
        raise FileNotFoundError("no such authorities")

    monkeypatch.setattr(_http, "_tls", missing)
    with ranged(bytes(10)) as server:
        connections = Connections(server.url.removeprefix("http://"), secure=True)
        connections.open(2)
        with pytest.raises(ConnectionError, match="no such authorities"):
            ask_one_of(connections)
        connections.close()


def test_requests_at_the_same_time_have_connections_of_their_own():
    with ranged(bytes(10)) as server:
        connections = Connections(server.url.removeprefix("http://"), secure=False)
        ends = time.monotonic() + 5
        with (
            connections.request("GET", "/", {}, timeout=5, ends=ends) as one,
            connections.request("GET", "/", {}, timeout=5, ends=ends) as two,
        ):
            assert (one.read(), two.read()) == (bytes(10), bytes(10))
        assert ask_one_of(connections) == bytes(10)
        connections.close()
        assert server.connections == 2


def test_connections_that_are_let_go_of_are_closed_and_opened_anew():
    with scripted(response(200, b"four"), keep=True) as server:
        connections = Connections(server.url.removeprefix("http://"), secure=False)
        ask_one_of(connections)
        connections.close()
        ask_one_of(connections)
        connections.close()
        assert server.connections == 2


def test_a_connection_that_is_being_opened_is_let_go_too(monkeypatch):
    opened: list[socket.socket] = []

    def slow(*_: object, **__: object) -> socket.socket:
        time.sleep(0.05)
        opened.append(socket.socket())
        return opened[0]

    monkeypatch.setattr(_connections, "connected", slow)
    kept = KeptConnection()
    kept.open("host", secure=False)

    kept.close()

    assert [connection.fileno() for connection in opened] == [-1]
