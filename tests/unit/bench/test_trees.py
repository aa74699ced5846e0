"""A forest that is compressed for its way."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelserve.manifest import MODEL_FILE, File, Load
from modelserve.versions import sha256
from tools.bench import stored, trees
from tools.bench.measures import Unavailable
from tools.bench.stored import Stored
from tools.bench.trees import forest, sent
from tools.local.packages import PROJECT
from tools.local.roots import TaskRoot
from tools.modelctl.loading import compressed


def packed(_config: Any, model: Path, _rows: Any) -> tuple[Load, None]:
    """As `prepare.fastest`, however small the model is."""
    file = compressed.compressed(model)
    assert file is not None
    stands = File(path=file.name, size=file.stat().st_size, sha256=sha256(file))
    return Load(format="onnx", files=(stands,), zstd=MODEL_FILE), None


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stored, Stored]:
    found, folder = forest(5, 200), tmp_path_factory.mktemp("stores")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(compressed, "worth_compressing", lambda *_: True)
        monkeypatch.setattr(stored, "fastest", packed)
        return stored.sample(found, folder / "plain", plain=True), stored.sample(found, folder / "ours", plain=False)


def test_both_are_downloaded_and_opened_by_the_functions_own_code(both: tuple[Stored, Stored]) -> None:
    packages = Path(sysconfig.get_path("purelib"))
    root = TaskRoot(folder=PROJECT, before=(PROJECT / "layers" / "modelserve" / "python", packages), handler="")
    result = sent(SimpleNamespace(root=root, environ={}, backend="native"), *both, what="a few trees", rounds=2)  # type: ignore[arg-type]
    assert (result.runs, result.bar) == (2, None)
    assert result.ours > 0
    assert result.notes["forest"].startswith("a few trees: ")


def test_ours_is_a_ratio_to_plain(both: tuple[Stored, Stored], bare_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_subject.backend = "native"
    monkeypatch.setattr(trees, "_LOADED", f"print({json.dumps([(0.4, 0.1), (0.4, 0.2), (0.4, 0.3)])!r})")
    result = sent(bare_subject, *both, what="", rounds=3)
    assert (result.floor, result.ours, result.compared) == pytest.approx((400, 200, 0.5))


def test_what_is_not_compressed_is_left_out(both: tuple[Stored, Stored], bare_subject: Any) -> None:
    plain, _ = both
    with pytest.raises(Unavailable, match="uncompressed"):
        sent(bare_subject, plain, plain, what="", rounds=1)
