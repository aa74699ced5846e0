"""What the function is measured beside: pinned environments, sides that are told apart, and answers that are right."""

import contextlib
import re
import time
from array import array
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest

from tools.bench.measures import Unavailable
from tools.bench.peers import environments, measured
from tools.bench.peers.__main__ import summary
from tools.bench.peers.measured import CLIENT, OURS, Figures, Side, compared
from tools.bench.peers.servers import SERVERS, TUNED
from tools.loopback.errors import MeasureError
from tools.loopback.processes import Memory

FOLDERS = sorted(file.parent.name for file in environments.PEERS.glob("*/requirements.txt"))

LOCK = "uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header requirements.in -o requirements.txt"


def some(*, cold: float = 1.0, call: float = 0.001, peak: int = 2**20) -> Figures:
    return Figures(cold=cold, calls=[call, call, 9 * call], memory=Memory(peak, peak // 2))


@pytest.mark.parametrize("folder", FOLDERS)
def test_everything_in_a_peers_environment_is_pinned_and_hashed(folder: str) -> None:
    text = (environments.PEERS / folder / "requirements.txt").read_text("utf-8")
    entries = [entry for entry in text.replace("\\\n", " ").splitlines() if entry.strip()]
    assert entries
    assert not [entry for entry in entries if not re.match(r"[\w.\-]+(\[\w+\])?==[^ ]+ ( ?;.*?)? *--hash=sha256:[0-9a-f]{64}", entry)]
    for wanted in (environments.PEERS / folder / "requirements.in").read_text("utf-8").splitlines():
        name = re.sub(r"\[\w+\]", "", wanted)
        assert wanted.startswith("#") or [entry for entry in entries if entry.startswith(f"{name} ")], wanted


@pytest.mark.parametrize("folder", FOLDERS)
def test_all_sides_run_the_same_onnx_runtime(folder: str) -> None:
    text = (environments.PEERS / folder / "requirements.txt").read_text("utf-8")
    assert f"onnxruntime=={onnxruntime.__version__} " in text, f"say so in {folder}/requirements.in, then: {LOCK}"


def test_every_folder_is_measured_and_says_what_it_includes() -> None:
    assert sorted({server.folder for server in SERVERS}) == FOLDERS == ["asgi", "bentoml", "fastapi", "mlserver"]
    assert all("server" in server.includes or "process" in server.includes for server in SERVERS)
    assert TUNED in {server.name for server in SERVERS}


def test_an_environment_is_made_once_for_its_requirements(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(environments, "_uv", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(environments, "PEERS", tmp_path)
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path)
    (tmp_path / "one").mkdir()
    requirements = tmp_path / "one" / "requirements.txt"
    requirements.write_text("a==1")
    assert environments.environment("one") == environments.environment("one") == tmp_path / "one"
    assert [call[0] for call in calls] == ["venv", "pip"]
    assert "--require-hashes" in calls[1]
    requirements.write_text("a==2")
    environments.environment("one")
    assert len(calls) == 4


def test_an_environment_that_cannot_be_made_leaves_the_peers_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environments, "find_uv_bin", lambda: "false")
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path)
    with pytest.raises(Unavailable, match="uv venv"):
        environments.environment("asgi")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("answer", "error"), [([1, 0.1], None), ([1, 0.2], "a side: the answer was"), ([0.1, 1], "a side: the answer was")]
)
def test_a_wrong_answer_is_no_measurement(answer: list[float], error: str | None) -> None:
    process = SimpleNamespace(begun=time.perf_counter(), memory=lambda: Memory(2, 1))
    running = SimpleNamespace(process=process, first=lambda: b"", ask=lambda: b"")
    side = Side("a side", "", lambda: contextlib.nullcontext(running), lambda _: answer)
    with pytest.raises(MeasureError, match=error) if error else contextlib.nullcontext():
        figures = measured._figures(side, 3, array("f", [1, 0.1]))
        assert len(figures.calls) == 3


def test_ratios_are_of_the_same_round_and_tuned_mlserver_has_the_bars() -> None:
    """In the second round the machine was ten times as slow, for both."""
    peers = {
        server.name: [some(cold=2.0, call=0.004, peak=100 * 2**20), some(cold=20.0, call=0.04, peak=100 * 2**20)] for server in SERVERS
    }
    found = {OURS: [some(cold=0.2, peak=30 * 2**20), some(cold=2.0, call=0.01, peak=30 * 2**20)], **peers, CLIENT: [some(), some()]}
    results = {result.name: result for result in compared(found)}
    assert len(results) == 3 * len(SERVERS)
    cold, memory, call = (results[f"{what} beside {TUNED}"] for what in ("cold start", "memory", "call"))
    assert [cold.compared, memory.compared] == pytest.approx([0.1, 0.3])
    assert (cold.bar, memory.bar) == (0.15, 0.4)
    assert call.compared == pytest.approx(0.25)
    assert (memory.ours, memory.floor, memory.unit) == (30, 100, "MiB")
    assert all(server.includes in results[f"cold start beside {server.name}"].notes.values() for server in SERVERS)
    assert {result.bar for name, result in results.items() if TUNED not in name} == {call.bar} == {None}


def test_the_table_has_medians_of_every_side() -> None:
    rounds = [some(cold=0.1), some(cold=0.3, peak=5 * 2**20), some(cold=0.2)]
    [row] = summary({"a": rounds}, {"a": "HTTP server"})
    assert (row["cold_ms"], row["peak_mb"], row["share_mb"], row["p50_us"], row["p99_us"]) == (200, 1, 0.5, 1000, 8840)
    assert (row["name"], row["includes"]) == ("a", "HTTP server")
