"""Finding what there is to report: training runs, probe cells and sweeps below the folders a user names."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlp.configs.trees import check_tree
from vlp.results import RESULTS_FILE, RUN_FILE, Record, read_results

METRICS_FILE = "metrics.csv"

Series = tuple[tuple[int, float], ...]
"""What was logged under one name: (step, value), in order of the step, only where the value is finite."""

_CLOSED = frozenset({"checkpoints", "figures", "report", "wandb", "tensorboard"})
"""Folders of a run that hold no other run; a report repeats rows that stand elsewhere."""


@dataclass(frozen=True)
class Cell:
    """One finished probe cell: its folder, its rows and what `run.json` says of it (empty where there is none)."""

    path: Path
    records: tuple[Record, ...]
    run: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """One training run: its folder, what `metrics.csv` logged by column, and what `run.json` says of it."""

    path: Path
    history: Mapping[str, Series]
    run: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Findings:
    """All that a report is made from.

    Args:
        cells: with the rows of each; of rows that stand in several, the first has them.
        trainings: with what was logged.
        problems: what could not be read, a sentence a file that names it; the rest is here.
        empty: tables without a row.
    """

    cells: tuple[Cell, ...]
    trainings: tuple[Training, ...]
    problems: tuple[str, ...] = ()
    empty: tuple[Path, ...] = ()

    @property
    def runs(self) -> tuple[Training | Cell, ...]:
        """Return every run, trainings first."""
        return (*self.trainings, *self.cells)

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the rows of all cells; of several that say the same thing, the first."""
        return tuple({record.identity: record for record in reversed(self._all)}.values())[::-1]

    @property
    def conflicts(self) -> tuple[Record, ...]:
        """Return the rows left out of `records`: they repeat another row with another value."""
        kept = set(self.records)
        return tuple(record for record in self._all if record not in kept)

    @property
    def _all(self) -> tuple[Record, ...]:
        return tuple(record for cell in self.cells for record in cell.records)


def collect(folders: Sequence[Path]) -> Findings:
    """Read every run below ``folders``, following links, each folder once however often it is linked.

    A file that cannot be read as what its name says is told in the findings, and the rest is read.

    Raises:
        FileNotFoundError: if a folder does not exist.
        NotADirectoryError: if it is a file.
        ValueError: if it holds no results, or nothing of what it holds can be read.
    """
    seen: set[Path] = set()
    cells: list[Cell] = []
    trainings: list[Training] = []
    problems: list[str] = []
    for folder in folders:
        homes = list(_run_folders(_checked(folder)))
        if not homes:
            raise ValueError(_nothing_there(folder))
        new = [home for home in homes if home.resolve() not in seen]
        seen.update(home.resolve() for home in new)
        for home in new:
            if not (home / RESULTS_FILE).exists():
                with _told(problems):
                    trainings.append(Training(home, read_history(home / METRICS_FILE), _run(home, problems)))
        for home in _cells_first([home for home in new if (home / RESULTS_FILE).exists()]):
            with _told(problems):
                cells.append(Cell(home, _rows(home / RESULTS_FILE), _run(home.resolve(), problems)))
    if problems and not cells and not trainings:
        raise ValueError("; ".join(problems))
    empty = tuple(cell.path / RESULTS_FILE for cell in cells if not cell.records)
    return Findings(tuple(_without_repeats(cells)), tuple(trainings), tuple(problems), empty)


def read_history(path: Path) -> dict[str, Series]:
    """Return what `metrics.csv` logged, by column. A step that a resumed run logged twice counts once, as it was last.

    Raises:
        ValueError: if it is no CSV file in UTF-8, there is no column ``step``, or a value is not a number; names file,
            line and column.
    """
    with _named(path), path.open(newline="", encoding="utf-8") as file:
        lines = csv.DictReader(file)
        columns = list(lines.fieldnames or ())
        if "step" not in columns:
            raise ValueError(f"{path}: expected a column step, found {', '.join(columns) or 'no header'}")
        points: dict[str, dict[int, float]] = {name: {} for name in columns if name not in ("step", "epoch")}
        for line in lines:
            where = f"{path}, line {lines.line_num}"
            step = _number(line["step"], f"{where}, column step")
            values = {name: _number(line[name], f"{where}, column {name}") for name in points}
            for name, value in values.items():
                if value is not None and step is not None:
                    points[name][int(step)] = value
    return {name: tuple(sorted(logged.items())) for name, logged in points.items() if logged}


def read_run(folder: Path) -> dict[str, Any]:
    """Return `run.json` of ``folder``, empty where there is none.

    Raises:
        ValueError: if it is not a JSON object of bounded size.
    """
    path = folder / RUN_FILE
    if not path.exists():
        return {}
    try:
        run = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, {error}") from error
    check_tree(run, str(path))
    if not isinstance(run, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(run).__name__}")
    return run


def _checked(folder: Path) -> Path:
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such directory; give the folder of a run, a cell or a sweep")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: expected a directory, found a file")
    return folder


def _nothing_there(folder: Path) -> str:
    entries = sorted(entry.name for entry in folder.iterdir())
    found = ", ".join(entries[:5] + ["..."] * (len(entries) > 5)) or "an empty directory"
    wanted = f"{RESULTS_FILE} (of a cell or sweep) or {METRICS_FILE} (of a training run)"
    return f"{folder}: expected {wanted} in it or below, found {found}"


def _run_folders(folder: Path) -> Iterator[Path]:
    """Yield every folder at or below ``folder`` that holds results or a training's metrics."""
    visited: set[Path] = set()
    for home, below, files in os.walk(folder, followlinks=True):
        real = Path(home).resolve()
        below[:] = [] if real in visited else sorted(name for name in below if name not in _CLOSED and name[0] != ".")
        if real not in visited and {RESULTS_FILE, METRICS_FILE}.intersection(files):
            yield Path(home)
        visited.add(real)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say which file it was that is no UTF-8, or no CSV file."""
    try:
        yield
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected a CSV file in UTF-8, {error}") from error


@contextmanager
def _told(problems: list[str]) -> Iterator[None]:
    """Add to ``problems`` what cannot be read, and go on."""
    try:
        yield
    except (OSError, ValueError) as error:
        problems.append(str(error))


def _rows(path: Path) -> tuple[Record, ...]:
    with _named(path):
        return tuple(read_results(path))


def _run(home: Path, problems: list[str]) -> dict[str, Any]:
    """Return `run.json` of ``home``, empty where it cannot be read."""
    try:
        return read_run(home)
    except (OSError, ValueError) as error:
        problems.append(str(error))
        return {}


def _no_number(word: str) -> None:
    raise ValueError(f"found {word}")


def _cells_first(homes: Sequence[Path]) -> list[Path]:
    """Put cells before the tables that gather them, of which only rows that stand in no cell are kept."""
    return sorted(homes, key=lambda home: any(home != other and home in other.parents for other in homes))


def _without_repeats(cells: Sequence[Cell]) -> Iterator[Cell]:
    seen: set[Record] = set()
    for cell in cells:
        fresh = tuple(record for record in cell.records if record not in seen)
        seen.update(fresh)
        if fresh:
            yield Cell(cell.path, fresh, cell.run)


def _number(text: str | None, where: str) -> float | None:
    """Return a finite number or None; a loss that is not finite is as good as not logged."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{where}: expected a number, found {text!r}") from None
    return value if math.isfinite(value) else None
