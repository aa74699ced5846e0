"""Which module measures what, and a run through them that one measurement can't end for the others."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module

from tools.bench.measures import GROUPS, Group, Options, Result, Tick, Unavailable
from tools.bench.subject import Subject
from tools.local.errors import LocalError
from tools.loopback.errors import MeasureError

__all__ = ["DEFAULT", "MODULES", "Run", "run"]

MODULES: Mapping[Group, tuple[str, ...]] = {
    "cold": ("tools.bench.cold",),
    "warm": ("tools.bench.warm",),
    "formats": ("tools.bench.formats", "tools.bench.trees"),
    "memory": ("tools.bench.memory",),
    "image": ("tools.bench.image_size",),
    "gateway": ("tools.bench.gateway",),
    "batch": ("tools.bench.batches", "tools.bench.data_sets"),
    "peers": ("tools.bench.peers.measured",),
}
"""Each has `measure(subject, options, tick)`, which yields its results; imported when it is its turn, as peers need what others don't."""
DEFAULT = tuple(group for group in GROUPS if group != "peers")


@dataclass
class Run:
    """What came out."""

    results: list[Result] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    """By group, what this machine lacks."""
    failed: dict[str, str] = field(default_factory=dict)
    """By group, what went wrong."""


def run(groups: Iterable[Group], subject: Subject, options: Options, watch: Callable[[Group], Tick]) -> Run:
    """Everything that these groups measure; `watch` is told of each as it begins."""
    found = Run()
    for group in groups:
        tick = watch(group)
        for module in MODULES[group]:
            try:
                found.results += import_module(module).measure(subject, options, tick)
            except (Unavailable, ImportError) as error:
                found.unavailable[group] = str(error)
            except (MeasureError, LocalError, OSError, subprocess.SubprocessError) as error:
                found.failed[group] = str(error) or type(error).__name__
    return found
