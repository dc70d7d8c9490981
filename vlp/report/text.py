"""The scoreboard, and what was measured beside the papers' numbers, for a terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vlp.configs.showing import printable
from vlp.published import TITLES, CellBeside, Judgement, TableBeside, judge, papers_of, tables_beside
from vlp.report.comparing import short_names
from vlp.report.published import PILLS, shown
from vlp.report.scoreboard import Answer, scoreboard, whose
from vlp.report.wording import VERDICTS
from vlp.results import Record

WIDEST = 10_000
"""Characters a table may need; a console's own width would bound what it is said to need."""

COLORS = {"yes": "green", "no": "red", "open": "yellow", "partly": "yellow"}


def print_scoreboard(records: Iterable[Record], console: Console | None = None) -> None:
    """Print what was asked and what was found. Words from data are neither read as markup nor act on the terminal."""
    console = console or Console(highlight=False)
    answers = scoreboard(records)
    names = short_names(whose(answer) for answer in answers)
    table = Table(title="Scoreboard", title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("answer", no_wrap=True)
    table.add_column("what was asked, and what was found", ratio=1)
    for subject, group in groupby(answers, key=lambda answer: names[whose(answer)]):
        table.add_section()
        table.add_row("", Text(printable(subject), style="bold underline"))
        for answer in group:
            table.add_row(_verdict(answer), _found(answer))
    console.print(table)


def print_published(records: Sequence[Record], console: Console | None = None) -> None:
    """Print the papers' tables with what was measured, and what it says of their claims; nothing where none fits."""
    console = console or Console(highlight=False)
    for beside in tables_beside(records):
        table = _published_table(beside)
        needed = console.measure(table, options=console.options.update(max_width=WIDEST)).minimum
        console.print(table if needed <= console.width else _published_table(beside, is_turned=True))
        for reason in beside.reasons:
            console.print(Text(f"  {printable(reason)}", style="dim"))
    for each in judge(records, papers_of(records)):
        if each.setting is not None:
            console.print(_claim(each))


def _published_table(beside: TableBeside, is_turned: bool = False) -> Table:
    """Return the table as printed, or turned, with a line for each of its columns."""
    printed = beside.printed
    cells = [[_beside(beside.find(row, column)) for column in printed.columns] for row in printed.rows]
    lines, heads = printed.rows, printed.columns
    if is_turned:
        lines, heads, cells = heads, lines, [list(line) for line in zip(*cells, strict=True)]
    title = f"{TITLES[printed.paper]}, {printed.title}: printed | measured here ({printable(beside.setting.words)})"
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for head in heads:
        table.add_column(Text(head), justify="right")
    for line, found in zip(lines, cells, strict=True):
        table.add_row(Text(line), *found)
    return table


def _beside(cell: CellBeside | None) -> Text:
    if cell is None:
        return Text()
    words = shown(cell, defaultdict(str))
    return Text.assemble(f"{words.printed} | ", (words.ours, "bold"), f"\n{words.interval}" if words.interval else "")


def _claim(each: Judgement) -> Text:
    verdict = (each.verdict.value, COLORS.get(PILLS[each.verdict], ""))
    return Text.assemble(f"{each.claim.claim_id} {each.claim.claim}: ", verdict, f". {printable(each.reason)}\n")


def _verdict(answer: Answer) -> Text:
    return Text(VERDICTS[answer.finding.verdict], style=COLORS.get(answer.finding.verdict, ""))


def _found(answer: Answer) -> Text:
    found = Text.assemble((printable(answer.question), "bold"), "\n", printable(answer.finding.text))
    if answer.explanation:
        found.append(f"\n{answer.explanation}", style="dim")
    if answer.missing:
        found.append(f"\ncontrols missing: {printable(', '.join(answer.missing))}", style="yellow")
    return found
