"""The results as tables: for a terminal, and for docs/reliability.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from rich.table import Table
from rich.text import Text

from tests.faults.endpoint_scenarios import EndpointScenario
from tests.faults.endpoint_trial import EndpointResult
from tests.faults.queue_trial import QueueResult
from tests.faults.scenarios import Scenario, Start
from tests.faults.trial import Result
from tools.local.packages import PROJECT

__all__ = [
    "DOCUMENT", "ENDPOINT_HEADERS", "ENDPOINT_MARKED", "HEADERS", "MARKED", "QUEUE_HEADERS", "QUEUE_MARKED",
    "endpoint_table", "measured", "promised", "promised_of_endpoint", "queue_table", "rows", "table", "write",
]  # fmt: skip

DOCUMENT = PROJECT / "docs" / "reliability.md"
MARKED, ENDPOINT_MARKED, QUEUE_MARKED = (
    re.compile(rf"(?<=<!-- {name} -->\n).*(?=<!-- /{name} -->)", re.DOTALL) for name in ("faults", "endpoint-faults", "queue-faults")
)
"""What stands between the markers."""
HEADERS = ("fault", "start", "what the caller gets", "status", "Retry-After", "counted", "GETs")
QUEUE_HEADERS = ("fault of a queue", "what must come of it", "what came of it")
ENDPOINT_HEADERS = ("fault", "what the caller gets", "status", "Retry-After", "counted", "calls")


def promised(scenario: Scenario, start: Start) -> tuple[str, ...]:
    """The cells of a row that hold on every machine."""
    expected = scenario.expected(start)
    refused = expected.outcome == "refuses"
    return scenario.name, start, str(expected), "503" if refused else "200", "1" if refused else "", expected.counts


def measured(result: Result) -> tuple[str, ...]:
    """The cells of a whole row."""
    return *promised(result.scenario, result.start), str(result.asked)


def promised_of_endpoint(scenario: EndpointScenario) -> tuple[str, ...]:
    """The cells of a whole row, which hold on every machine."""
    gets = f"an error: “{scenario.says}”" if scenario.kind else "a job, and its answer" if scenario.queued else "the answer"
    return scenario.name, gets, str(scenario.status), scenario.retry_after or "", scenario.kind, str(scenario.calls)


def table(results: list[Result]) -> Table:
    """What a person reads: a line for each fault, and what is wrong."""
    made = Table("fault", "at a cold start", "with a version in memory", box=None, padding=(0, 2, 0, 0))
    for scenario, of_one in groupby(results, key=lambda result: result.scenario):
        cells = {result.start: _cell(result) for result in of_one}
        made.add_row(scenario.name, cells.get("cold", ""), cells.get("warm", ""))
    return made


def _cell(result: Result) -> Text:
    if result.problems:
        return Text("\n".join(result.problems), "red")
    if result.expected.outcome == "refuses":
        return Text(f"503 {result.expected.counts}", "yellow")
    return Text("answers" if result.expected.outcome == "answers" else "version before", "green")


def endpoint_table(results: list[EndpointResult]) -> Table:
    """Likewise."""
    made = Table("fault of an endpoint", "what the caller gets", "calls", box=None, padding=(0, 2, 0, 0))
    for result in results:
        scenario = result.scenario
        good = Text(f"{scenario.status} {scenario.kind}", "yellow") if scenario.kind else Text("answers", "green")
        made.add_row(scenario.name, Text("\n".join(result.problems), "red") if result.problems else good, str(scenario.calls))
    return made


def queue_table(results: list[QueueResult]) -> Table:
    """Likewise."""
    made = Table("fault of a queue", "what came of it", box=None, padding=(0, 2, 0, 0))
    for result in results:
        made.add_row(result.name, Text("\n".join(result.problems), "red") if result.problems else Text(result.found, "green"))
    return made


def write(marked: re.Pattern[str], headers: Sequence[str], rows: Iterable[Sequence[str]], document: Path = DOCUMENT) -> None:
    """Puts a table where it was in the document."""
    lines = [headers, ("---",) * len(headers), *rows]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    document.write_text(marked.sub(lambda _: text, document.read_text("utf-8")), "utf-8")


def rows(marked: re.Pattern[str], document: Path = DOCUMENT) -> list[tuple[str, ...]]:
    """What `write` wrote, without its headers."""
    text = marked.search(document.read_text("utf-8"))
    assert text, marked
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in text[0].strip().splitlines()[2:]]
