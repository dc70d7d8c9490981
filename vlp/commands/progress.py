"""What the cells of a sweep are doing: noted by the process that carries one out, shown by the sweep's own.

On a terminal a table stands below what is printed and is kept up to date; elsewhere each change of a state is a line.
What a cell itself prints goes to the log in its folder; its warnings are passed on.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vlp.configs.showing import printable
from vlp.durable.stopping import Stopped, blocked

if TYPE_CHECKING:
    from vlp.commands.processes import Running

POLL_S = 0.25
"""Seconds between two looks at the cells."""

WARNING = "][WARNING] - "
"""What a warning's line has in the log of a cell, and no other."""


class State(StrEnum):
    """How far a cell is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    WAS_DONE = "was done"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Cell:
    """One cell of a sweep.

    Args:
        state: how far it is.
        log: the file with what it printed.
        began: when it began, in seconds since the epoch.
        ended: when it ended, None as long as it has not.
        error: why it is not done.
    """

    state: State = State.WAITING
    log: str = ""
    began: float = 0.0
    ended: float | None = None
    error: str = ""

    def seconds(self, now: float) -> float:
        """Return how long it has run, or did."""
        return (self.ended or now) - self.began if self.began else 0.0


class Note:
    """What the process that carries out a cell tells of it.

    Args:
        sweep: what runs on this machine; None where nobody reads the note.
        number: the cell's place in the sweep.
        log: the file with what the cell prints.
    """

    def __init__(self, sweep: Running | None, number: int, log: Path) -> None:
        self.sweep, self.number = sweep, number
        self.cell = Cell(State.RUNNING, str(log), time.time())
        self.outcome = State.DONE

    def write(self) -> None:
        """Have the sweep read the cell as it is now."""
        if self.sweep is not None:
            unfinished = self.sweep.folder / f".cell-{self.number}"
            unfinished.write_text(json.dumps(asdict(self.cell)), "utf-8")
            os.replace(unfinished, _file(self.sweep.folder, self.number))

    def end(self, state: State, error: str = "") -> None:
        """Tell that the cell has ended."""
        self.cell = replace(self.cell, state=state, ended=time.time(), error=error)
        self.write()


@contextmanager
def noting_cell(sweep: Running | None, number: int, log: Path) -> Iterator[Note]:
    """Tell that a cell runs and, at the end of the block, what became of it: `Note.outcome` unless an error says."""
    note = Note(sweep, number, log)
    note.write()
    try:
        yield note
    except BaseException as error:
        is_stopped = isinstance(error, Stopped) or (sweep is not None and sweep.stopped is not None)
        note.end(State.STOPPED if is_stopped else State.FAILED, str(error) or type(error).__name__)
        raise
    note.end(note.outcome)


class Board:
    """The cells of a sweep, as their processes tell of them.

    Args:
        folder: of their notes.
        names: what to call each cell.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = folder, list(names)
        self.cells = [Cell() for _ in names]
        self.at_once = 1
        self._heard: Counter[int] = Counter()

    def read(self) -> list[int]:
        """Look at the cells; return the numbers of those whose state is another one."""
        before = list(self.cells)
        self.cells = [self._read(number, cell) for number, cell in enumerate(before)]
        self.at_once = max(self.at_once, self.count(State.RUNNING))
        return [number for number, cell in enumerate(self.cells) if cell.state != before[number].state]

    def _read(self, number: int, cell: Cell) -> Cell:
        if cell.ended is not None or not _file(self.folder, number).is_file():
            return cell
        told = json.loads(_file(self.folder, number).read_text("utf-8"))
        return Cell(**{**told, "state": State(told["state"])})

    def count(self, *states: State) -> int:
        """Return how many cells are in one of ``states``."""
        return sum(cell.state in states for cell in self.cells)

    def remaining_s(self, now: float) -> float | None:
        """Return the seconds that are left if each cell takes as long as those done; None where that cannot be said."""
        spent = [cell.seconds(now) for cell in self.cells if cell.state is State.DONE]
        running = [cell.seconds(now) for cell in self.cells if cell.state is State.RUNNING]
        waiting = self.count(State.WAITING)
        if not spent or not (running or waiting):
            return None
        mean = sum(spent) / len(spent)
        return (waiting * mean + sum(max(0.0, mean - seconds) for seconds in running)) / self.at_once

    def warnings(self) -> Iterator[tuple[int, str]]:
        """Yield the warnings that cells have printed since the last look, with the cell's number."""
        for number, cell in enumerate(self.cells):
            if cell.log and Path(cell.log).is_file():
                with Path(cell.log).open("rb") as file:
                    file.seek(self._heard[number])
                    whole = file.read().rpartition(b"\n")[0]
                self._heard[number] += len(whole)
                for line in whole.decode("utf-8", "replace").splitlines():
                    if WARNING in line:
                        yield number, printable(line.partition(WARNING)[2])


class View(Protocol):
    """A way to show a board."""

    def show(self, board: Board, changed: Sequence[int]) -> None:
        """Show the cells as they are, of which those numbered ``changed`` are in another state than before."""


@contextmanager
def showing(folder: Path, names: Sequence[str], view: View) -> Iterator[None]:
    """Show inside the block what becomes of the cells whose processes leave their notes in ``folder``."""
    board, is_over = Board(folder, names), threading.Event()

    def follow() -> None:
        while not is_over.wait(POLL_S):
            view.show(board, board.read())

    thread = threading.Thread(target=follow, name="progress", daemon=True)
    with blocked():  # signals are the main thread's
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        view.show(board, board.read())


def distinct(cells: Sequence[Sequence[str]]) -> list[str]:
    """Return a name a cell: its overrides, without those that all cells have."""
    common = set.intersection(*map(set, cells)) if len(cells) > 1 else set()
    own = [[override for override in cell if override not in common] or cell for cell in cells]
    return [printable(" ".join(overrides) or "the only cell") for overrides in own]


def described(board: Board, number: int, now: float) -> str:
    """Return what a cell's state is, in words: ``cell 2 of 4 failed after 3 s: model=lxmert: why (log: file)``."""
    cell = board.cells[number]
    took = duration(cell.seconds(now))
    words: Mapping[State, str] = {
        State.RUNNING: "runs",
        State.DONE: f"done in {took}",
        State.FAILED: f"failed after {took}",
        State.STOPPED: f"stopped after {took}",
    }
    line = f"cell {number + 1} of {len(board.cells)} {words.get(cell.state, cell.state)}: {board.names[number]}"
    if cell.error:
        line += f": {printable(cell.error)} (log: {printable(cell.log)})"
    return line


def summary(board: Board, now: float) -> str:
    """Return in words how far the sweep is: ``2 of 4 cells done, 1 failed, about 36 s left``."""
    words = [f"{board.count(State.DONE, State.WAS_DONE)} of {len(board.cells)} cells done"]
    words += [f"{board.count(state)} {state}" for state in (State.FAILED, State.STOPPED) if board.count(state)]
    if (left := board.remaining_s(now)) is not None:
        words.append(f"about {duration(left)} left")
    return ", ".join(words)


def duration(seconds: float) -> str:
    """Return a time in words: ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def _file(folder: Path, number: int) -> Path:
    return folder / f"cell-{number}"
