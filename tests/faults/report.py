"""The results as a table: for a terminal, and for docs/reliability.md."""

from __future__ import annotations

import re
from pathlib import Path

from rich.table import Table

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
    """What a person reads: also how long the first answer took, and what is wrong."""
    made = Table(*_HEADERS, "seconds", "a second later")
    for result in results:
        verdict = "[red]" + "\n".join(result.problems) + "[/]" if result.problems else "[green]right[/]"
        made.add_row(*promised(result.scenario, result.start), str(result.asked), f"{result.seconds:.1f}", verdict)
    return made


def write(results: list[Result], document: Path = DOCUMENT) -> None:
    """Puts the table where it was in the document."""
    rows = [_HEADERS, ("---",) * len(_HEADERS), *((*promised(each.scenario, each.start), str(each.asked)) for each in results)]
    text = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    document.write_text(MARKED.sub(lambda _: text, document.read_text("utf-8")), "utf-8")
