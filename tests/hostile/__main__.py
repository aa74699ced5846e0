"""`make hostile`: the corpus against the whole local stack, and whether it holds."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from modelserve.session import BACKENDS
from tests.hostile.case import Case
from tests.hostile.corpus import drawn, generate
from tests.hostile.deployment import functions, publish
from tests.hostile.judge import Tally, play
from tests.hostile.wire import Wire
from tests.local.releases import NAME, assembly
from tools.local.stack import LocalStack

_WARM_UP = 200
_GROWTH = 20 * 2**20
_SHOWN = 20
_TRITON = "Triton 2.51: of 27 hostile requests 13 were answered 4xx, 11 with a 500, one killed it."


def main() -> int:
    options = _options()
    console = Console()
    return max([_attacked(console, backend, options) for backend in options.backend or BACKENDS])


def _attacked(console: Console, backend: str, options: argparse.Namespace) -> int:
    """One deployment, whose functions drive ONNX Runtime in one way."""
    with tempfile.TemporaryDirectory() as folder:
        console.print(f"Starts the stack with {backend} sessions, and draws the requests.")
        with LocalStack(assembly(Path(folder, "cdk.out"), session_backend=backend), NAME) as stack:
            publish(stack, Path(folder))
            numbered = enumerate(generate(options.count, options.seed))
            cases = [(index, case) for index, case in numbered if options.only in {None, index}]
            with Wire(stack.url, stack.key) as wire:
                return _run(console, wire, cases, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--count", type=int, default=5_000, help="requests; the fixed ones are always sent")
    parser.add_argument("--seed", type=int, default=1, help="the same seed draws the same requests")
    parser.add_argument("--only", type=int, help="sends the one of this index, as a failure names it")
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="how the functions drive ONNX Runtime; one after the other")
    return parser.parse_args()


def _run(console: Console, wire: Wire, cases: list[tuple[int, Case]], options: argparse.Namespace) -> int:
    for index, case in enumerate(drawn(_WARM_UP, options.seed + 1)):
        play(wire, index, case, Tally())
    for path in ("/v2", "/v2/models/nobody", "/v2/repository/index", "/v2/jobs/nobody"):
        wire.send(Case(theme="valid", name=path, model="", method="GET", path=path))
    before = functions()
    begun, tally = time.monotonic(), Tally()
    for index, case in track(cases, "Attacks", console=console):
        play(wire, index, case, tally)
    after = functions()
    growth = {name: after[pid][1] - rss for pid, (name, rss) in before.items() if pid in after}
    deaths, restarts = len(before.keys() - after.keys()), len(after.keys() - before.keys())
    console.print(_table(tally, deaths, restarts, growth))
    for failure in tally.failures[:_SHOWN]:
        again = f"python -m tests.hostile --seed {options.seed} --count {options.count} --only {failure.index}"
        console.print(f"{failure.case.title}\n  {failure.problem}\n  again: {again}", soft_wrap=True, markup=False)
    seconds = time.monotonic() - begun
    console.print(f"{len(cases):,} requests of seed {options.seed} in {seconds:.0f} s. {_TRITON}", soft_wrap=True)
    held = not (tally.failures or tally.server_errors or deaths or restarts or max(growth.values(), default=0) > _GROWTH)
    return 0 if held else 1


def _table(tally: Tally, deaths: int, restarts: int, growth: dict[str, int]) -> Table:
    table = Table("", "", show_header=False)
    worst = max(growth, key=lambda name: growth[name]) if growth else ""
    for name, value in (
        ("hostile, answered 4xx", f"{tally.refused:,} / {tally.sent - tally.valid:,}"),
        ("odd but valid, answered right", f"{tally.served:,} / {tally.valid:,}"),
        ("right status, in all", f"{tally.right:,} / {tally.sent:,}"),
        ("5xx", f"{tally.server_errors}"),
        ("process deaths", f"{deaths} ({restarts} restarts)"),
        ("next valid request right", f"{tally.next_right:,} / {tally.sent:,}"),
        ("slowest", f"{tally.slowest[0]:.2f} s ({tally.slowest[1]})"),
        ("RSS growth", f"{growth.get(worst, 0) / 2**20:.1f} MiB ({worst}, the most of {len(growth)} processes)"),
    ):
        table.add_row(name, value)
    return table


if __name__ == "__main__":
    sys.exit(main())
