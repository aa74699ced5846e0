"""Makes a model ready to be published, and publishes it: train, convert, assess, hold against the gates."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import sklearn
from threadpoolctl import threadpool_limits

from models.config import MODELS, ModelConfig, ModelConfigError
from modelserve.manifest import MODEL_FILE, Lineage, Manifest
from modelserve.record import replace
from modelserve.registry import Registry
from tools.modelctl import built, convert, evaluate, parity
from tools.modelctl.assess import Converted, assess
from tools.modelctl.built import Built
from tools.modelctl.data import Split, split
from tools.modelctl.errors import GateFailed
from tools.modelctl.fingerprint import fingerprint
from tools.modelctl.frameworks import Context, adapt
from tools.modelctl.paths import BUILD, PAGE_FILE
from tools.modelctl.report import stored
from tools.modelctl.report.page import render
from tools.modelctl.source import Source

__all__ = ["BUILD", "Built", "Progress", "build", "fit", "publish"]

Progress = Callable[[str], None]
"""Is told each step as it begins."""


def build(
    config: ModelConfig, *, models: Path = MODELS, output: Path = BUILD, fresh: bool = False, progress: Progress | None = None
) -> Built:
    """Trains, converts and checks a model, or answers what an earlier build left when nothing changed since (`fresh` insists).

    Raises `TrainFailed`, `BuildFailed`, `ModelConfigError`. A model that fails its gates or the lint is built all the same; see `failures`.
    """
    tell = progress or (lambda _: None)
    folder = output / config.name
    state = fingerprint(models / config.name)
    if not fresh and (known := built.read(folder, state)):
        tell("unchanged since it was built")
        return known
    source = Source.of(models / config.name)
    tell("loading its data")
    rows = split(config, *source.load())
    tell("opening its file" if source.opens_file else f"training on {rows.trained} rows")
    context = Context(config=config, rows=rows, folder=models / config.name)
    estimator = adapt(fit(source, rows.X, rows.y), context)
    tell(f"converting, and comparing on {rows.held_out} held-out rows")
    found = assess(config, _converted(config, models, source, estimator, rows), rows, folder, state=state, progress=tell)
    if found.manifest.max_batch == 0 and config.realtime:
        tell("packed for a GPU that runs each request by itself: its rows can't be joined with those of others")
    return found


def fit(source: Source, X: Any, y: Any) -> Any:
    """Trains on one thread: sums in another order round otherwise, and the same data would give another model elsewhere."""
    with threadpool_limits(1):
        return source.train(X, y)


def publish(registry: Registry, built: Built, *, forced: str | None = None) -> Manifest:
    """Stores a model that passed, or any with the reason in `forced`, which the manifest keeps. Raises `GateFailed`.

    Its page says how it compares with what production names now.
    """
    draft = built.manifest
    if not built.passed:
        if not forced:
            raise GateFailed(draft.name, built.failures)
        assert draft.lineage is not None  # build always writes one
        draft = replace(draft, lineage=replace(draft.lineage, forced=forced))
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / PAGE_FILE
        page.write_text(_page(registry, draft, built), "utf-8")
        return registry.publish(draft, {**built.files, PAGE_FILE: page})


def _page(registry: Registry, draft: Manifest, built: Built) -> str:
    report = built.report | {"manifest": orjson.loads(draft.to_json())}
    production = stored.of_production(registry, draft.name)
    known = production is not None and production.sha256 == report["files"][MODEL_FILE]  # the same model again
    return render(report, production=None if production is None or known else production.report)


def _converted(config: ModelConfig, models: Path, source: Source, estimator: Any, rows: Split) -> Converted:
    framework = getattr(estimator, "framework", f"scikit-learn {sklearn.__version__}")
    return Converted(
        model=convert.convert(config.name, config.task, estimator, rows.held_out_X),
        expected=parity.original(config.task, estimator, rows.held_out_X),
        labels=_labels(config, models, estimator),
        lineage=Lineage(framework=framework, source=hashlib.sha256(source.file.read_bytes()).hexdigest()),
        space=_space(estimator, rows.held_out_X) if config.task == "clustering" else None,
        elsewhere=getattr(estimator, "elsewhere", False),
    )


def _space(estimator: Any, X: Any) -> Any:
    """An estimator in another process has left where it judges clusters."""
    found = getattr(estimator, "space", None)
    return evaluate.space(estimator, X) if found is None else found


def _labels(config: ModelConfig, models: Path, estimator: Any) -> tuple[str, ...]:
    """Those of model.toml, or else the classes as they were trained. Raises `ModelConfigError` when these don't fit each other."""
    classes = [item.item() if hasattr(item, "item") else item for item in getattr(estimator, "classes_", ())]
    if not config.labels or not classes:
        return config.labels or tuple(map(str, classes))
    named = all(isinstance(item, str) for item in classes)
    if len(config.labels) != len(classes) or (named and list(config.labels) != classes):
        expected = f"a label for each of the {len(classes)} classes, in the order {classes}"
        raise ModelConfigError(models / config.name / "model.toml", [("labels", list(config.labels), expected)])
    return config.labels
