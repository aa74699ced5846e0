"""Cold starts beside their floor."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from modelserve.manifest import File, Load
from tools.bench import cold, stored
from tools.bench.big_models import small_resnet_sample
from tools.bench.cold import Pair
from tools.bench.measures import Options, Result
from tools.bench.stored import Stored
from tools.loopback.store import BUCKET


def test_cold_starts_are_compared_pair_by_pair_and_the_first_pair_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    floors, ours = iter([50.0, 0.1, 0.2, 0.4]), iter([90.0, 0.11, 0.24, 0.44])
    monkeypatch.setattr(Pair, "floor", lambda _: next(floors))
    monkeypatch.setattr(Pair, "ours", lambda _: next(ours))
    ticks: list[int] = []
    pair: Any = Pair(subject=None, stored=None, variables={})  # type: ignore[arg-type]
    result = cold.compared(pair, name="cold start", rounds=3, tick=lambda: ticks.append(1), bar=1.15)
    assert result.compared == pytest.approx(1.1)
    assert (result.ours, result.floor) == (240.0, 200.0)
    assert (result.runs, len(ticks)) == (3, 4)


def test_everything_is_measured_plain_and_delayed_small_and_large_and_on_less_than_a_cpu(bare_subject, monkeypatch) -> None:
    """Names key the kept results; a machine without control groups has all the others."""
    asked: list[tuple[str, Pair]] = []

    def compared(pair: Pair, *, name: str, rounds: int, bar: float, **_: Any) -> Result:
        asked.append((name, pair))
        values: dict[str, Any] = {"group": "cold", "unit": "ms", "ours": 1.0, "floor": 1.0, "compared": 1.0, "spread": (1.0, 1.0)}
        return Result(name=name, bar=bar, comparison="a ratio", runs=rounds, **values)

    def trained(name: str, folder: Any, *_: Any) -> Stored:
        folder.mkdir()
        return Stored(name=name, folder=folder, event={}, model=folder / "model.onnx")

    monkeypatch.setattr(cold, "compared", compared)
    monkeypatch.setattr("tools.bench.stored.trained", trained)
    monkeypatch.setattr(cold, "_large", lambda _: iter([]))
    monkeypatch.setattr(cold, "limited", no_quota)
    found: list[Result] = []
    with pytest.raises(cold.Unavailable):
        found.extend(cold.measure(bare_subject, Options(rounds=1), lambda: None))
    assert [result.name for result in found] == ["cold start", "cold start, TLS and 15 ms"]
    secure = asked[1][1].variables
    assert secure["AWS_ENDPOINT_URL_S3"].startswith("https://")
    assert "SSL_CERT_FILE" in secure
    assert {result.bar for result in found} == {1.15}


def test_a_large_model_is_measured_as_it_would_be_published_and_plain(bare_subject, monkeypatch, tmp_path) -> None:
    opened: list[Any] = []

    def compared(pair: Pair, *, name: str, bar: float | None, **_: Any) -> Any:
        alias = json.loads(next((pair.stored.folder / BUCKET).rglob("production.json")).read_bytes())
        opened.append(alias.get("load"))
        return name, bar

    def fastest(_config: Any, model: Path, _rows: Any) -> tuple[Load, None]:
        content = model.read_bytes()
        (model.parent / "model.ort").write_bytes(content)
        file = File(path="model.ort", size=len(content), sha256=hashlib.sha256(content).hexdigest())
        return Load(format="ort", files=(file,)), None

    monkeypatch.setattr(cold, "compared", compared)
    monkeypatch.setattr(stored, "fastest", fastest)
    large = ("4 MB", small_resnet_sample)
    found: list[Any] = list(cold._of_large(bare_subject, large, tmp_path, rounds=1, tick=lambda: None))

    assert found == [("cold start, 4 MB", 1.25), ("cold start, 4 MB, plain ONNX", None)]
    assert [load and load["format"] for load in opened] == ["ort", None]


def no_quota(_: float) -> Any:
    raise cold.Unavailable("no control groups")
