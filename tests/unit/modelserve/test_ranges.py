"""A large file in ranges: every byte of it once, on a few connections, or nothing."""

import hashlib
import threading
import time
from pathlib import Path

import pytest

from modelserve import _ranges
from modelserve import s3 as s3_module
from modelserve.errors import ObjectNotFound, StoreUnavailable, UnverifiedModel

from .ranged import Answer, ranged
from .test_s3 import reader

BODY = bytes(range(251)) * 4400  # 1.1 MB: ranges differ
SHA256 = hashlib.sha256(BODY).hexdigest()
PIECE = 100_000
PIECES = -(-len(BODY) // PIECE)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "_RANGED", 1)
    monkeypatch.setattr(_ranges, "_PIECE", PIECE)
    monkeypatch.setattr(_ranges, "_PER_CONNECTION", len(BODY) // 3)
    monkeypatch.setattr(_ranges, "_BUFFER", 30_000)


def fetch(url: str, folder: Path, *, size: int = len(BODY), sha256: str = SHA256, version: str | None = None) -> bytes:
    to = folder / "fetched"
    try:
        reader(url).download("m", version_id=version, size=size, sha256=sha256, to=str(to))
        return to.read_bytes()
    finally:
        to.unlink(missing_ok=True)
        assert list(folder.iterdir()) == []  # nothing is half there


def test_every_range_is_asked_for_once_on_a_few_connections(tmp_path):
    with ranged(BODY) as server:
        assert fetch(server.url, tmp_path) == BODY
    assert sorted(server.spans) == [(begin, min(begin + PIECE, len(BODY))) for begin in range(0, len(BODY), PIECE)]
    assert server.connections <= 4


def test_ranges_come_at_the_same_time(tmp_path):
    """Each of the first waits for the others, which one connection would do for good."""
    together = threading.Barrier(4)

    def wait(number: int, answer: Answer) -> Answer:
        if number <= 4:
            together.wait(timeout=10)
        return answer

    with ranged(BODY, wait) as server:
        assert fetch(server.url, tmp_path) == BODY


def test_every_range_is_of_the_version_that_was_asked_for(tmp_path):
    with ranged(BODY) as server:
        fetch(server.url, tmp_path, version="v/1")
    assert set(server.targets) == {"/store/m?versionId=v%2F1"}


def test_a_small_file_comes_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(s3_module, "_RANGED", len(BODY) + 1)
    with ranged(BODY) as server:
        assert fetch(server.url, tmp_path) == BODY
    assert server.spans == []


def test_a_server_that_knows_no_ranges_is_asked_for_the_whole(tmp_path):
    with ranged(BODY, lambda _number, _answer: (200, {}, BODY)) as server:
        assert fetch(server.url, tmp_path) == BODY


@pytest.mark.parametrize(
    "fault",
    [
        (503, {}, b"<Code>SlowDown</Code>"),
        None,
        (206, {"Content-Range": f"bytes 0-{PIECE - 1}/{len(BODY)}", "Content-Length": str(PIECE)}, BODY[:5000]),
        (206, {"Content-Range": f"bytes 0-9/{len(BODY)}"}, BODY[:10]),
        (206, {"Content-Range": f"bytes 0-{PIECE - 1}/{len(BODY)}"}, BODY[: PIECE + 1]),
        (206, {}, BODY[:PIECE]),
        (416, {"Content-Range": f"bytes */{len(BODY)}"}, b""),
    ],
    ids=["slow down", "closed", "short", "another range", "long", "no range", "none"],
)
def test_a_range_that_fails_is_asked_for_again_alone(tmp_path, fault):
    with ranged(BODY, lambda number, answer: fault if number == 2 else answer) as server:
        assert fetch(server.url, tmp_path) == BODY
    assert len(server.spans) == PIECES + 1
    assert len(set(server.spans)) == PIECES


def test_a_range_that_always_fails_ends_all_of_them_and_leaves_no_file(tmp_path):
    with ranged(BODY, lambda _number, _answer: (503, {}, b"<Code>SlowDown</Code>")) as server:
        with pytest.raises(StoreUnavailable, match=r"m: HTTP 503 SlowDown \(3 attempts\)"):
            fetch(server.url, tmp_path)
        assert len(server.spans) <= 3 * 4


@pytest.mark.parametrize(
    ("status", "code", "error", "said"),
    [(403, "AccessDenied", StoreUnavailable, "HTTP 403 AccessDenied"), (404, "NoSuchKey", ObjectNotFound, "'m'")],
)
def test_a_refusal_is_said_and_not_tried_again(tmp_path, status, code, error, said):
    refusal: Answer = (status, {}, f"<Code>{code}</Code>".encode())
    with ranged(BODY, lambda _number, _answer: refusal) as server, pytest.raises(error, match=said):
        fetch(server.url, tmp_path)
    assert len(server.spans) <= 4


@pytest.mark.parametrize("at", [0, PIECE + 1, len(BODY) - 1])
def test_one_wrong_byte_anywhere_is_never_opened(tmp_path, at):
    wrong = BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :]
    found = hashlib.sha256(wrong).hexdigest()
    expected = pytest.raises(UnverifiedModel, match=f"found SHA-256 {found} of {len(BODY)} bytes, expected {SHA256}")
    with ranged(wrong) as server, expected:
        fetch(server.url, tmp_path)


@pytest.mark.parametrize("size", [len(BODY) - 1, len(BODY) + 1])
def test_an_object_of_another_size_is_told_by_its_first_answer(tmp_path, size):
    expected = pytest.raises(UnverifiedModel, match=f"found {len(BODY)} bytes, expected {size} bytes")
    with ranged(BODY) as server, expected:
        fetch(server.url, tmp_path, size=size)


def test_ranges_that_trickle_are_given_up_together(tmp_path, monkeypatch):
    monkeypatch.setattr(s3_module, "PATIENCE", 0.1)
    monkeypatch.setattr(s3_module, "_SLOWEST", 100 * len(BODY))

    def hang(_number: int, _answer: Answer) -> None:
        time.sleep(1)

    with ranged(BODY, hang) as server, pytest.raises(StoreUnavailable, match="timed out"):
        fetch(server.url, tmp_path)


def test_a_full_disk_is_said_with_what_to_raise(tmp_path, monkeypatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    expected = pytest.raises(StoreUnavailable, match=r"No space left on device while writing; raise ephemeral_storage in model.toml")
    with ranged(BODY) as server, expected:
        fetch(server.url, tmp_path)
    assert len(server.spans) <= 4


def test_a_connection_without_memory_ends_all_of_them(tmp_path, monkeypatch):
    def none_left(_: int) -> bytearray:
        raise MemoryError

    monkeypatch.setattr(_ranges, "bytearray", none_left, raising=False)
    with ranged(BODY) as server, pytest.raises(MemoryError):
        fetch(server.url, tmp_path)


def test_nothing_is_written_after_a_connection_could_not_be_begun(tmp_path, monkeypatch):
    """The number of a closed file is soon that of another one."""
    begun: list[threading.Thread] = []

    class OneThread(threading.Thread):
        def start(self) -> None:
            if begun:
                raise RuntimeError("can't start new thread")
            begun.append(self)
            super().start()

    monkeypatch.setattr(_ranges, "Thread", OneThread)
    with ranged(BODY) as server, pytest.raises(RuntimeError, match="new thread"):
        fetch(server.url, tmp_path)
    assert not begun[0].is_alive()
