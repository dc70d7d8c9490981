"""The scoreboard for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
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
    table = Table(title="Scoreboard", title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("answer", no_wrap=True)
    table.add_column("what was asked, and what was found", ratio=1)
    for subject, group in groupby(answers, key=lambda answer: names[answer.subject]):
        table.add_section()
        table.add_row("", Text(subject, style="bold underline"))
        for answer in group:
            table.add_row(_verdict(answer), _found(answer))
    console.print(table)


def _verdict(answer: Answer) -> Text:
    return Text(VERDICTS[answer.finding.verdict], style=COLORS.get(answer.finding.verdict, ""))


def _found(answer: Answer) -> Text:
    found = Text.assemble((answer.question, "bold"), "\n", answer.finding.text)
    if answer.missing:
        found.append(f"\ncontrols missing: {', '.join(answer.missing)}", style="yellow")
    return found
