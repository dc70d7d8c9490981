"""The result row, the tidy table it stands in, and the store of finished cells.

A probe gives a `Row` a number; the command adds whose number it is (`Subject`), which makes a `Record`, one line of
``results.csv``. A finished cell is a folder that appears in the store all at once, by a rename.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS_FILE, RUN_FILE, CELLS_FOLDER, FIGURES_FOLDER = "results.csv", "run.json", "cells", "figures"

STAGES = ("", "joint", "text", "vision", "cross")
STREAMS = ("", "joint", "text", "vision")

FRACTIONS = frozenset({"accuracy", "balanced_accuracy", "nmi", "mass", "share"})
"""Metrics that are fractions, never percent."""


@dataclass(frozen=True)
class Row:
    """One number that a probe found.

    Args:
        condition: what was measured, ``model`` or a control such as ``random_weights``, ``shuffled``, ``chance``.
        metric: the word for the number, such as ``accuracy`` or ``nmi``.
        value: the number; fractions in [0, 1].
        n: the number of items behind it.
        stage: joint, text, vision or cross; empty where it does not apply, as all that follow.
        query: the stream that attends, or whose hidden state it is.
        key: the stream attended to.
        layer: from 1; 0 is the embedding output.
        head: from 1.
        label: the class or kind of item.
        parameter: what the probe varied, ``threshold=0.5``.
        ci_low: lower end of the 95 % interval; given together with ``ci_high``.
        ci_high: its upper end.
    """

    condition: str
    metric: str
    value: float
    n: int
    stage: str = ""
    query: str = ""
    key: str = ""
    layer: int | None = None
    head: int | None = None
    label: str = ""
    parameter: str = ""
    ci_low: float | None = None
    ci_high: float | None = None


@dataclass(frozen=True)
class Subject:
    """Whose numbers they are: what all rows of a cell share.

    ``weights`` is ``random`` or a short name with the first 8 digits of its sha256 (`short_name`).
    """

    model: str
    size: str
    weights: str
    dataset: str
    probe: str
    prober: str
    seed: int
    prober_seed: int | None = None


@dataclass(frozen=True)
class Record:
    """One line of ``results.csv``; the fields of `Subject` and `Row`, in the order of the columns."""

    model: str
    size: str
    weights: str
    dataset: str
    probe: str
    prober: str
    condition: str
    metric: str
    stage: str
    query: str
    key: str
    layer: int | None
    head: int | None
    label: str
    parameter: str
    value: float
    ci_low: float | None
    ci_high: float | None
    n: int
    seed: int
    prober_seed: int | None

    @classmethod
    def of(cls, subject: Subject, row: Row) -> Record:
        """Return the line that ``row`` is for ``subject``."""
        return cls(**vars(subject), **vars(row))

    @property
    def identity(self) -> tuple[Any, ...]:
        """All that tells a line from the others: everything but value, interval and n."""
        return tuple(getattr(self, name) for name in COLUMNS if name not in ("value", "ci_low", "ci_high", "n"))


COLUMNS = tuple(field.name for field in dataclasses.fields(Record))

_READERS: dict[str, type[int] | type[float]] = {"int": int, "float": float}
_TYPES = {field.name: str(field.type).split(" ")[0] for field in dataclasses.fields(Record)}
_OPTIONAL = frozenset(field.name for field in dataclasses.fields(Record) if "None" in str(field.type))


def short_name(stem: str, sha256: str) -> str:
    """Return the word for weights in ``results.csv``: a short name with the first 8 digits of their sha256."""
    clean = "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in stem)
    return f"{clean}-{sha256[:8]}"


def write_results(path: Path | str, subject: Subject, rows: Iterable[Row]) -> None:
    """Write a cell's table.

    Raises:
        ValueError: if there is no row, two are of the same thing, or a value is not what its column says.
    """
    records = [Record.of(subject, row) for row in rows]
    if not records:
        raise ValueError(f"probe {subject.probe} gave no rows for {subject.model} on {subject.dataset}")
    write_records(path, records)


def write_records(path: Path | str, records: Sequence[Record]) -> None:
    """Write a table, each line checked, each about something else."""
    seen: set[tuple[Any, ...]] = set()
    for record in records:
        _check(record)
        if record.identity in seen:
            raise ValueError(f"two rows say the same thing: {_name(record)}")
        seen.add(record.identity)
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([_written(getattr(record, name)) for name in COLUMNS] for record in records)
    os.replace(temporary, path)


def read_results(path: Path | str) -> list[Record]:
    """Return the lines of a ``results.csv``; empty cells are None in number columns, words stay words (``none`` too).

    Raises:
        ValueError: naming file, line and column of what is not as `write_results` writes it.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        header = next(lines, [])
        if tuple(header) != COLUMNS:
            raise ValueError(f"{path}: expected the columns {','.join(COLUMNS)}, found {','.join(header) or 'nothing'}")
        return [_read(line, f"{path}, line {lines.line_num}") for line in lines]


def concatenate(sources: Iterable[Path | str], target: Path | str) -> None:
    """Write the lines of several tables, each once, as one."""
    lines = dict.fromkeys(record for source in sources for record in read_results(source))
    write_records(target, list(lines))


class CellStore:
    """Folders of finished cells, named by the first 12 digits of their content hash.

    A cell is written under a temporary name and renamed when it is done, so what stands under its own name is whole.

    Args:
        root: ``outputs/cells``.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def path(self, cell: str) -> Path:
        """Return where the cell stands, or will."""
        return self.root / cell

    def is_finished(self, cell: str) -> bool:
        """Whether the cell's results exist."""
        return all((self.path(cell) / name).is_file() for name in (RESULTS_FILE, RUN_FILE))

    @contextmanager
    def writing(self, cell: str) -> Iterator[Path]:
        """Give a temporary folder that becomes the cell's when the block ends well, and is removed when it does not.

        What killed processes left of this cell is removed first: the caller holds the cell's lock.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        for leftover in self.root.glob(f".{cell}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary = self.root / f".{cell}-{uuid.uuid4().hex[:8]}"
        temporary.mkdir()
        try:
            yield temporary
            self._publish(temporary, cell)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _publish(self, temporary: Path, cell: str) -> None:
        target = self.path(cell)
        if target.exists():  # asked for again with force=true
            os.rename(target, temporary.with_name(temporary.name + "-old"))
        os.rename(temporary, target)
        shutil.rmtree(temporary.with_name(temporary.name + "-old"), ignore_errors=True)


def link_cell(cell: Path, run_dir: Path) -> Path:
    """Link a finished cell into the ``cells`` folder of a run's or sweep's own directory, and return the link."""
    link = run_dir / CELLS_FOLDER / cell.name
    _link(cell, link)
    return link


def show_cell(cell: Path, run_dir: Path) -> None:
    """Link a single run's figures and record into its own directory, beside its table."""
    for name in (FIGURES_FOLDER, RUN_FILE):
        if (cell / name).exists():
            _link(cell / name, run_dir / name)


def _link(target: Path, link: Path) -> None:
    """Make ``link`` lead to ``target`` by a relative path, in place of what it led to before."""
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".{link.name}-{uuid.uuid4().hex[:8]}")
    temporary.symlink_to(os.path.relpath(target.resolve(), link.parent.resolve()), target_is_directory=target.is_dir())
    os.replace(temporary, link)


def gather(run_dir: Path) -> Path | None:
    """Concatenate the results of the cells linked into ``run_dir``; return the table, None where there is no cell."""
    tables = sorted((run_dir / CELLS_FOLDER).glob(f"*/{RESULTS_FILE}"))
    if not tables:
        return None
    concatenate(tables, run_dir / RESULTS_FILE)
    return run_dir / RESULTS_FILE


def _check(record: Record) -> None:
    """Check one line against what its columns say."""
    ends = f"interval {record.ci_low}, {record.ci_high}"
    is_off = record.metric in FRACTIONS and not 0 <= record.value <= 1
    wrong = [
        (not record.condition, "condition is empty"),
        (not record.metric, "metric is empty"),
        (record.stage not in STAGES, f"stage={record.stage!r}, expected one of {STAGES}"),
        (record.query not in STREAMS, f"query={record.query!r}, expected one of {STREAMS}"),
        (record.key not in STREAMS, f"key={record.key!r}, expected one of {STREAMS}"),
        (record.layer is not None and record.layer < 0, f"layer={record.layer}, expected 0 or more"),
        (record.head is not None and record.head < 1, f"head={record.head}, expected 1 or more"),
        (not math.isfinite(record.value), f"value={record.value}, expected a finite number"),
        (is_off, f"value={record.value}, expected a fraction in [0, 1]"),
        ((record.ci_low is None) != (record.ci_high is None), f"{ends} is half given"),
        (not _is_interval(record), f"{ends} is not finite and in order"),
        (record.n < 1, f"n={record.n}, expected 1 or more"),
    ]
    for is_wrong, what in wrong:
        if is_wrong:
            raise ValueError(f"{what}, in {_name(record)}")


def _is_interval(record: Record) -> bool:
    if record.ci_low is None or record.ci_high is None:
        return True
    return math.isfinite(record.ci_low) and math.isfinite(record.ci_high) and record.ci_low <= record.ci_high


def _name(record: Record) -> str:
    return ", ".join(f"{name}={getattr(record, name)}" for name in COLUMNS if getattr(record, name) not in ("", None))


def _written(value: Any) -> str:
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def _read(line: list[str], where: str) -> Record:
    if len(line) != len(COLUMNS):
        raise ValueError(f"{where}: expected {len(COLUMNS)} cells, found {len(line)}")
    return Record(**{name: _parsed(name, text, where) for name, text in zip(COLUMNS, line, strict=True)})


def _parsed(name: str, text: str, where: str) -> Any:
    if _TYPES[name] == "str":
        return text
    if not text and name in _OPTIONAL:
        return None
    try:
        return _READERS[_TYPES[name]](text)
    except ValueError:
        raise ValueError(f"{where}, column {name}: expected {_TYPES[name]}, found {text!r}") from None
