"""A forest on its way from the store to a session: compressed, as it would be published, beside plain ONNX."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tools.bench import stored
from tools.bench.measures import Options, Result, Tick, Unavailable, ratios
from tools.bench.processes import command, output
from tools.bench.samples import Sample
from tools.bench.stored import Stored
from tools.bench.subject import Subject
from tools.loopback.server import Network, serving
from tools.loopback.store import BUCKET
from tools.modelctl.loading.choice import BANDWIDTH

__all__ = ["forest", "measure", "sent"]

_TREES, _ROWS = 100, 4000
_QUICK_TREES, _QUICK_ROWS = 40, 2000
_FEATURES = 30
_LOADED = f"""
import json, sys
from modelserve.aws import Credentials
from modelserve.fetch import Fetcher
from modelserve.manifest import read_alias
from modelserve.s3 import S3Reader
from modelserve.session import open_session
name, backend, rounds, *urls = sys.argv[1:]

def seconds(url):
    store = S3Reader("{BUCKET}", region="us-east-1", endpoint=url, credentials=lambda: Credentials("a", "s", None))
    fetch = Fetcher(store, lambda path, load: open_session(path, name=name, threads=1, load=load, backend=backend))
    try:
        return fetch(read_alias(store, name, "production")[0]).load_seconds
    finally:
        store.close()

results = [[seconds(url) for url in urls] for _ in range(1 + int(rounds))]
print(json.dumps(results[1:]))
"""
"""Turn by turn, seconds from the first byte asked for to a session, of each store; the first turn opens ONNX Runtime's library."""


def measure(subject: Subject, options: Options, tick: Tick) -> Iterator[Result]:
    """Of the group `formats`. Raises `Unavailable` where compressing is not worth it, as measured here."""
    trees, rows, rounds = (_QUICK_TREES, _QUICK_ROWS, 2) if options.quick else (_TREES, _ROWS, options.rounds)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        found = forest(trees, rows)
        plain, ours = (stored.sample(found, Path(scratch) / name, plain=name == "plain") for name in ("plain", "ours"))
        tick()
        yield sent(subject, plain, ours, what=found.what, rounds=rounds)
        tick()


def forest(trees: int, rows: int) -> Sample:
    """As scikit-learn grows it on so many random rows, to their end: one row of 30 numbers to one."""
    from skl2onnx import to_onnx  # noqa: PLC0415 - seconds to import, and nobody else's
    from sklearn.ensemble import RandomForestRegressor  # noqa: PLC0415

    random = np.random.default_rng(1)
    data = random.random((rows, _FEATURES), np.float32)
    target = data[:, 0] * data[:, 1] + random.normal(0, 0.1, rows)
    graph = to_onnx(RandomForestRegressor(trees, random_state=1).fit(data, target), data[:1])
    return Sample("forest", f"{trees} regression trees, grown on {rows:,} random rows of {_FEATURES} numbers", graph, data[:128])


def sent(subject: Subject, plain: Stored, ours: Stored, *, what: str, rounds: int) -> Result:
    """From the first byte asked for to a session, in milliseconds. Raises `Unavailable` where `ours` is not compressed."""
    packed = next(ours.folder.rglob("*.zst"), None)
    if packed is None:
        raise Unavailable("this forest would be published uncompressed: here it expands too slowly, or could not be opened")
    size, small = (file.stat().st_size / 1e6 for file in (plain.model, packed))
    network = Network(bandwidth=BANDWIDTH)
    with serving(plain.folder, network) as plain_url, serving(ours.folder, network) as url:
        line = command(subject.root, _LOADED, ours.name, subject.backend, str(rounds), plain_url, url)
        pairs = output(line, root=subject.root, environ=subject.environ)
    return ratios(
        pairs,
        name="transfer and load of a forest, zstd",
        group="formats",
        unit="ms",
        scale=1000,
        bar=None,
        comparison=f"from the first byte asked for to a session, compressed for its way by zstd, as a ratio to plain ONNX; both from S3 on "
        f"loopback held to {BANDWIDTH / 1e6:g} MB/s, which is what Lambda gives a function",
        notes={"forest": f"{what}: {size:.0f} MB, {small:.1f} MB compressed"},
    )
