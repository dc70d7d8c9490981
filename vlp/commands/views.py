"""A sweep's cells on the terminal: a table that is kept up to date, or lines where stderr is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vlp.commands.progress import Board, State, View, described, duration, summary
from vlp.configs.showing import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

COLORS = {State.RUNNING: "cyan", State.DONE: "green", State.WAS_DONE: "green", State.FAILED: "red"}

URGENCY = (State.RUNNING, State.FAILED, State.STOPPED, State.WAITING, State.DONE, State.WAS_DONE)
"""Which cells stand in a table that has no room for all, the first ones first."""

FRAME = 5
"""Lines of a table besides its cells."""

TAIL = 4096
"""Bytes at the end of a log in which to look for its last line."""


class Lines:
    """Writes a line to stderr whenever a cell's state changes, and one for each warning."""

    def show(self, board: Board, changed: Sequence[int]) -> None:
        """Write what is new."""
        now = time.time()
        lines = [f"cell {number + 1}: {warning}" for number, warning in board.warnings()]
        for number in changed:
            is_over = board.cells[number].ended is not None
            lines.append(described(board, number, now) + (f" ({summary(board, now)})" if is_over else ""))
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()


class LiveTable:
    """Keeps a table of the cells at the bottom of the terminal, failures and warnings above it.

    Args:
        live: where the table is.
    """

    def __init__(self, live: Live) -> None:
        self.live = live

    def show(self, board: Board, changed: Sequence[int]) -> None:
        """Bring the table up to date."""
        from rich.text import Text

        now = time.time()
        for number, warning in board.warnings():
            self.live.console.print(Text(f"cell {number + 1}: {warning}", style="yellow"))
        for number in changed:
            if board.cells[number].state is State.FAILED:
                self.live.console.print(Text(described(board, number, now), style="red"))
        self.live.update(table_of(board, now, self.live.console), refresh=True)


@contextmanager
def viewing() -> Iterator[View]:
    """Give the view that suits stderr."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, highlight=False)
    if console.is_dumb_terminal:
        yield Lines()
        return
    with Live(console=console, auto_refresh=False, redirect_stdout=sys.stdout.isatty()) as live:
        yield LiveTable(live)


def table_of(board: Board, now: float, console: Console) -> Table:
    """Return a row a cell, as many as the terminal has room for: overrides, state, time, last words or error."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=SIMPLE_HEAD, pad_edge=False, expand=True, caption=Text(summary(board, now)), caption_justify="left"
    )
    for name, share in (("", None), ("cell", 3), ("state", None), ("time", None), ("last words", 4)):
        table.add_column(name, ratio=share, no_wrap=True, overflow="ellipsis")
    for number in _most_urgent(board, max(1, console.height - FRAME)):
        cell = board.cells[number]
        words = last_words(Path(cell.log)) if cell.state is State.RUNNING else printable(cell.error)
        table.add_row(
            str(number + 1),
            Text(board.names[number]),
            Text(cell.state, style=COLORS.get(cell.state, "")),
            duration(cell.seconds(now)) if cell.began else "",
            Text(words, style="dim"),
        )
    return table


def _most_urgent(board: Board, room: int) -> list[int]:
    """Return the numbers of the cells to show, in order."""
    numbers = sorted(range(len(board.cells)), key=lambda number: URGENCY.index(board.cells[number].state))
    return sorted(numbers[:room])


def last_words(log: Path) -> str:
    """Return the last line of a log that says something, empty where there is none."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        lines = file.read().decode("utf-8", "replace").replace("\r", "\n").splitlines()
    said = next((line for line in reversed(lines) if line.strip()), "")
    return printable(said.rpartition("] - ")[2].strip())
