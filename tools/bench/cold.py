"""Cold starts: fresh processes in turns, so that whatever else the machine does falls on both sides."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tools.bench import big_models, stored
from tools.bench.measures import Options, Result, Tick, Unavailable, ratios
from tools.bench.processes import command, first_line, with_binding
from tools.bench.programs import FLOOR, FUNCTION
from tools.bench.quota import limited
from tools.bench.samples import Sample
from tools.bench.stored import Stored
from tools.bench.subject import MODEL, Subject
from tools.loopback.authority import KEY_ARN, certificate
from tools.loopback.bootstrap import arguments
from tools.loopback.runtime import first_answer
from tools.loopback.server import Network, reached, serving

__all__ = ["Pair", "Unavailable", "compared", "measure"]

PLAIN = """
import sys
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
answer = session.run(None, {session.get_inputs()[0].name: numpy.load(sys.argv[2])})
print(len(answer), flush=True)
"""
"""As FLOOR, of a request that no command line holds."""
_ROUND_TRIP = 0.015
_VCPUS = (1.0, 0.58, 0.29)
_LARGE_ROUNDS = 5
_LARGE_MEGABYTES = 3538
"""Two virtual CPUs, which is what the floor takes of this process's."""
_EVERYTHING = (
    "process start to first answer by Lambda's runtime client, signed model from S3, metrics and logs, as a ratio to python + import "
    "onnxruntime + session of the same local file + one run"
)
_PLAIN = "opened as it was exported; without these words it is opened in the way that is measured and chosen when it is published"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The two sides of a comparison."""

    subject: Subject
    stored: Stored
    variables: Mapping[str, str]
    """What the function is told beside what its image and its stack say."""
    before: Sequence[str] = field(default_factory=tuple)
    """Before both command lines."""

    def floor(self) -> float:
        """Seconds."""
        root = with_binding(self.subject.root)
        if self.stored.rows is None:
            line = command(root, FLOOR, str(self.stored.model), json.dumps(dict(self.stored.event)))
        else:
            line = command(root, PLAIN, str(self.stored.model), str(self.stored.rows))
        with first_line([*self.before, *line], root=root) as (seconds, _):
            return seconds

    def ours(self) -> float:
        """Seconds."""
        environ = {**self.subject.environ, **self.subject.told(self.stored.name, signing_key_arn=KEY_ARN), **self.variables}
        line = [*self.before, *command(self.subject.root, FUNCTION, *arguments(self.subject.root.wrapper))]
        return first_answer(line, event=self.stored.event, cwd=self.subject.root.folder, environ=environ)[0]


def measure(subject: Subject, options: Options, tick: Tick) -> Iterator[Result]:
    """The group `cold`. Raises `Unavailable` where no CPU quota is allowed, after everything else."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        small = stored.trained(MODEL, Path(scratch) / "small", subject.event)
        told = partial(compared, rounds=options.rounds, tick=tick, bar=1.15, goal=0.65)
        with serving(small.folder, Network()) as url:
            plain = Pair(subject=subject, stored=small, variables=reached(url))
            yield told(plain, name="cold start")
        yield _delayed(subject, small, Path(scratch), told)
        for each in _large(options):
            yield from _of_large(subject, each, Path(scratch) / "large", rounds=1 if options.quick else _LARGE_ROUNDS, tick=tick)
        with serving(small.folder, Network()) as url:
            for vcpus in _VCPUS:
                with limited(vcpus) as before:
                    pair = Pair(subject=subject, stored=small, variables=reached(url), before=before)
                    yield told(pair, name=f"cold start, {vcpus:g} vCPU", notes={"vCPU": "both sides held to so much of a CPU"})


def compared(pair: Pair, *, rounds: int, tick: Tick, **said: Any) -> Result:
    """Turn by turn; in milliseconds. What is `said` are a result's name, bar, goal and notes."""
    pairs = []
    for number in range(rounds + 1):
        measured = pair.floor(), pair.ours()
        tick()
        if number:  # the first pair fills the page cache
            pairs.append(measured)
    return ratios(pairs, group="cold", unit="ms", scale=1000, comparison=_EVERYTHING, **said)


def _delayed(subject: Subject, small: Stored, scratch: Path, told: Callable[..., Result]) -> Result:
    chain, roots = certificate(scratch)
    with serving(small.folder, Network(certificate=str(chain), round_trip=_ROUND_TRIP)) as url:
        pair = Pair(subject=subject, stored=small, variables=reached(url) | {"SSL_CERT_FILE": str(roots)})
        what = f"TLS and {1000 * _ROUND_TRIP:g} ms"
        return told(pair, name=f"cold start, {what}", notes={what: "S3 and KMS over TLS, the milliseconds for each round trip"})


def _large(options: Options) -> Iterator[tuple[str, Callable[[], Sample]]]:
    yield "100 MB", big_models.resnet_sample
    if not options.quick:
        yield "400 MB", big_models.transformer_sample


def _of_large(subject: Subject, named: tuple[str, Callable[[], Sample]], folder: Path, *, rounds: int, tick: Tick) -> Iterator[Result]:
    """Opened as it would be published, which is what has a bar, and as its maker wrote it."""
    size, made = named
    found = made()
    for suffix, bar, notes in (("", 1.25, {size: found.what}), (", plain ONNX", None, {size: found.what, "plain ONNX": _PLAIN})):
        name = f"cold start, {size}{suffix}"
        large = stored.sample(found, folder / name, plain=bool(suffix))
        with serving(large.folder, Network()) as url:
            variables = reached(url) | {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(_LARGE_MEGABYTES)}
            pair = Pair(subject=subject, stored=large, variables=variables)
            yield compared(pair, name=name, rounds=rounds, tick=tick, bar=bar, notes=notes)
