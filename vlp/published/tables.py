"""Tables and figures as the papers printed them: one typed cell a number, with its unit and what is noted of it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

TITLES = {
    "value": "VALUE (Cao et al., ECCV 2020)",
    "ablation": "Ablation (Frank et al., EMNLP 2021)",
    "grounding": "Grounding (Li et al., ACL 2020)",
    "visual_parsing": "VisualParsing (Xue et al., NeurIPS 2021)",
}
"""How the papers are called, by their short name."""

PAPERS = tuple(TITLES)

COLUMNS = ("row", "column", "value", "unit", "ci_low", "ci_high", "note")

SCALES = {"percent": 100.0, "GMACs": 1e-9, "million": 1e-6}
"""By a word of a unit, what a number as it is stored is multiplied by."""

_EXTRA = re.compile(r"([a-z]+)=(\S+)")


@dataclass(frozen=True)
class PublishedCell:
    """One printed number.

    Args:
        row: the head of its row, as printed.
        column: the head of its column, as printed.
        text: the number with the digits printed; empty for a dash or a mere picture.
        unit: such as ``percent accuracy``, ``NMI``, ``bits``.
        ci_low: lower end of its interval, where one can be computed.
        ci_high: the upper end.
        note: what is to be known of it, without its keyed extras.
        extras: ``head`` (``9-12``: layer and head from 1), ``layer``, ``class``.
    """

    row: str
    column: str
    text: str
    unit: str
    ci_low: float | None = None
    ci_high: float | None = None
    note: str = ""
    extras: Mapping[str, str] = field(default_factory=dict)

    @property
    def value(self) -> float | None:
        """The number, in its unit; None for a dash or a mere picture."""
        return float(self.text) if self.text else None

    @property
    def digits(self) -> int:
        """Digits printed after the decimal point."""
        return len(self.text.partition(".")[2])

    @property
    def scale(self) -> float:
        """What a measured number is multiplied by to be in this unit: 100 where it is percent, of fractions."""
        return next((scale for word, scale in SCALES.items() if word in self.unit), 1.0)

    @property
    def remark(self) -> str:
        """The note without how the number was typeset."""
        return "; ".join(part for part in self.note.split("; ") if part != "bold")


@dataclass(frozen=True)
class PublishedTable:
    """A table or figure: its name ``<paper>/<artefact>`` and its cells, row by row as printed."""

    name: str
    cells: tuple[PublishedCell, ...]

    @property
    def paper(self) -> str:
        """The paper's short name."""
        return self.name.partition("/")[0]

    @property
    def title(self) -> str:
        """Its name as papers have it: ``Table 3``."""
        kind, number = re.fullmatch(r"([a-z_]*)(.*)", self.name.partition("/")[2]).groups()  # type: ignore[union-attr]
        return f"{kind.replace('_', ' ').capitalize()} {number}".strip()

    @property
    def rows(self) -> tuple[str, ...]:
        """The heads of the rows, in printed order."""
        return tuple(dict.fromkeys(cell.row for cell in self.cells))

    @property
    def columns(self) -> tuple[str, ...]:
        """The heads of the columns, in printed order."""
        return tuple(dict.fromkeys(cell.column for cell in self.cells))

    def find(self, row: str, column: str) -> PublishedCell | None:
        """Return the cell under these heads, None where the table has none there."""
        return next((cell for cell in self.cells if (cell.row, cell.column) == (row, column)), None)


@cache
def load(name: str) -> PublishedTable:
    """Return a printed table or figure.

    Args:
        name: ``<paper>/<artefact>``, such as ``value/table3``.

    Raises:
        ValueError: if there is none of that name, or its file is not as README.md says.
    """
    if name not in artefact_names():
        raise ValueError(f"{name} is no published table or figure; there is {', '.join(artefact_names())}")
    paper, artefact = name.split("/")
    file = folder() / paper / f"{artefact}.csv"
    return PublishedTable(name, tuple(_cell(line, where) for where, line in read_lines(file, COLUMNS)))


@cache
def artefact_names(paper: str | None = None) -> tuple[str, ...]:
    """Return the names of all tables and figures (of one paper), paper by paper."""
    papers = PAPERS if paper is None else (paper,)
    return tuple(
        f"{each}/{file.name.removesuffix('.csv')}"
        for each in papers
        for file in sorted((folder() / each).iterdir(), key=lambda file: file.name)
        if file.name.endswith(".csv")
    )


def folder() -> Traversable:
    """Return the folder of the files."""
    return resources.files("vlp.published")


def read_lines(file: Traversable, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the lines of a CSV file as words, each with the words that name it in an error.

    Raises:
        ValueError: if the columns are others.
    """
    lines = csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"), newline=""))
    if tuple(lines.fieldnames or ()) != columns:
        raise ValueError(f"{file}: expected the columns {','.join(columns)}, found {','.join(lines.fieldnames or ())}")
    for line in lines:
        yield f"{file}, line {lines.line_num}", {name: line[name] for name in columns}


def _cell(line: Mapping[str, str], where: str) -> PublishedCell:
    parts = [part for part in line["note"].split("; ") if part]
    extras = {match[1]: match[2] for part in parts if (match := _EXTRA.fullmatch(part))}
    note = "; ".join(part for part in parts if not _EXTRA.fullmatch(part))
    numbers: dict[str, Any] = {name: _number(line[name], f"{where}, column {name}") for name in ("ci_low", "ci_high")}
    _number(line["value"], f"{where}, column value")
    return PublishedCell(line["row"], line["column"], line["value"], line["unit"], **numbers, note=note, extras=extras)


def _number(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{where}: expected a number, found {text!r}") from None
