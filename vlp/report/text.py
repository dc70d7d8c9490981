"""The scoreboard for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from vlp.report.comparing import short_names
from vlp.report.scoreboard import Answer, scoreboard
from vlp.report.wording import VERDICTS
from vlp.results import Record

COLORS = {"yes": "green", "no": "red", "open": "yellow", "partly": "yellow"}


def print_scoreboard(records: Iterable[Record], console: Console | None = None) -> None:
    """Print what was asked and what was found. Words from data are printed as they are, never read as markup."""
    console = console or Console(highlight=False)
    answers = scoreboard(records)
    names = short_names(answer.subject for answer in answers)
    table = Table(title="Scoreboard", title_justify="left", title_style="bold", show_lines=True)
    for column in ("model", "asked", "", "found"):
        table.add_column(column, ratio=4 if column == "found" else None)
    for answer in answers:
        table.add_row(*_row(answer, names[answer.subject]))
    console.print(table)


def _row(answer: Answer, name: str) -> tuple[RenderableType, ...]:
    verdict = Text(VERDICTS[answer.finding.verdict], style=COLORS.get(answer.finding.verdict, ""))
    found = Text(answer.finding.text)
    if answer.missing:
        found.append(f"\ncontrols missing: {', '.join(answer.missing)}", style="yellow")
    return Text(name), Text(answer.question), verdict, found
