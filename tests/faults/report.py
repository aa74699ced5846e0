"""The results as a table: for a terminal, and for docs/reliability.md."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

from rich.table import Table
from rich.text import Text

from tests.faults.scenarios import Scenario, Start
from tests.faults.trial import Result
from tools.local.packages import PROJECT

__all__ = ["DOCUMENT", "MARKED", "promised", "table", "write"]

DOCUMENT = PROJECT / "docs" / "reliability.md"
MARKED = re.compile(r"(?<=<!-- faults -->\n).*(?=<!-- /faults -->)", re.DOTALL)
"""What stands between the markers."""
_HEADERS = ("fault", "start", "what the caller gets", "status", "Retry-After", "counted", "GETs")


def promised(scenario: Scenario, start: Start) -> tuple[str, ...]:
    """The cells of a row that hold on every machine."""
    expected = scenario.expected(start)
    refused = expected.outcome == "refuses"
    return scenario.name, start, str(expected), "503" if refused else "200", "1" if refused else "", expected.counts


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


def write(results: list[Result], document: Path = DOCUMENT) -> None:
    """Puts the table where it was in the document."""
    rows = [_HEADERS, ("---",) * len(_HEADERS), *((*promised(each.scenario, each.start), str(each.asked)) for each in results)]
    text = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    document.write_text(MARKED.sub(lambda _: text, document.read_text("utf-8")), "utf-8")
