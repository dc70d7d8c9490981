"""What an examination found, and its table in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vlp.commands.messages import friendly
from vlp.configs.showing import printable

OK, NOTE, FAILED = "ok", "note", "failed"
"""States of a finding: all is well; worth knowing; something needed or asked for does not work."""

COLOURS = {OK: "green", NOTE: "yellow", FAILED: "bold red"}


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Args:
        state: ok, note or failed.
        subject: what was looked at.
        found: what is there.
        advice: what to do about it; empty where all is well.
    """

    state: str
    subject: str
    found: str
    advice: str = ""


def guarded(subject: str, advice: str, examine: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Return what ``examine`` finds; an error of its ends it with a failed line, and nothing else."""
    findings: list[Finding] = []
    try:
        findings.extend(examine())
    except Exception as error:  # noqa: BLE001 - whatever it is, the line tells it
        findings.append(Finding(FAILED, subject, friendly(error), advice))
    return findings


def show(findings: Sequence[Finding], console: Console | None = None) -> None:
    """Print the table; words of files stand in it as text, never as markup."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "what", "found", "what to do"):
        table.add_column(title, overflow="fold")
    for finding in findings:
        words = (finding.subject, finding.found, finding.advice)
        table.add_row(Text(finding.state, COLOURS[finding.state]), *(Text(printable(word)) for word in words))
    (console or Console()).print(table)
