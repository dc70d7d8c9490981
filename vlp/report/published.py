"""Measured numbers in the layout of the papers' tables, and what they say of the papers' claims: for page and files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlp.durable.files import replacing
from vlp.published import TITLES, CellBeside, Judgement, Measured, PublishedCell, TableBeside, Verdict
from vlp.report.measures import MISSING

MOST_DIGITS = 6

CLAIMS_FILE = "claims.csv"

PILLS = {Verdict.AGREES: "yes", Verdict.DISAGREES: "no", Verdict.NOT_TESTABLE: "open"}
"""The look of a verdict in the page."""

TABLE_COLUMNS = (
    *("dataset", "size", "weights", "row", "column", "unit", "printed"),
    *("ours", "ci_low", "ci_high", "n", "seeds", "prober_seeds", "remarks"),
)
CLAIM_COLUMNS = (
    *("paper", "claim_id", "claim", "statistic", "direction"),
    *("dataset", "size", "weights", "verdict", "reason"),
)


@dataclass(frozen=True)
class ShownCell:
    """A cell as it is read: the printed number, ours with interval and items, and the marks of its footnotes."""

    printed: str
    ours: str
    interval: str
    items: str
    sort_key: float | str
    marks: str


def table_for_page(table: TableBeside) -> dict[str, Any]:
    """Return a printed table for its template: heads as printed, cells by row, footnotes, reasons."""
    marks = footnote_marks(table.cells)
    columns = table.printed.columns
    return {
        "title": table.printed.title,
        "setting": table.setting.words,
        "unit": ", ".join(dict.fromkeys(cell.printed.unit for cell in table.cells)),
        "columns": columns,
        "rows": [(row, [_shown_at(table, row, column, marks) for column in columns]) for row in table.printed.rows],
        "footnotes": [(mark, remark) for remark, mark in marks.items()],
        "reasons": table.reasons,
    }


def footnote_marks(cells: Iterable[CellBeside]) -> dict[str, str]:
    """Return a letter for each remark on a cell: a to z, then aa and so on."""
    remarks = dict.fromkeys(remark for cell in cells for remark in cell.remarks)
    return {remark: _letters(index) for index, remark in enumerate(remarks)}


def shown(cell: CellBeside, marks: Mapping[str, str]) -> ShownCell:
    """Return ``cell`` as words, ours with the digits that were printed."""
    ours, printed = cell.ours, cell.printed
    return ShownCell(
        printed=printed.text or MISSING,
        ours=MISSING if ours is None else _number(ours.value, printed),
        interval="" if ours is None else interval(ours, printed),
        items="" if ours is None else items(ours),
        sort_key="" if ours is None else ours.value,
        marks=", ".join(marks[remark] for remark in cell.remarks),
    )


def interval(ours: Measured, printed: PublishedCell) -> str:
    """Return ``[low, high]`` with the digits that were printed, empty where there is none."""
    if ours.low is None or ours.high is None:
        return ""
    return f"[{_number(ours.low, printed)}, {_number(ours.high, printed)}]"


def items(ours: Measured) -> str:
    """Return on how much a number rests: ``n 400, 1 seed, 3 prober seeds``."""
    counts = ((ours.num_seeds, "seed"), (ours.num_prober_seeds, "prober seed"))
    return ", ".join([f"n {ours.n}", *(f"{count} {word}{'s' if count > 1 else ''}" for count, word in counts if count)])


def claims_for_page(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Return judgements for their template: those that something was measured for, and the others by paper."""
    untested: dict[str, list[Judgement]] = {}
    for each in judgements:
        if each.setting is None:
            untested.setdefault(TITLES[each.claim.paper], []).append(each)
    tested = [each for each in judgements if each.setting is not None]
    return {"tested": tested, "untested": untested, "pills": PILLS, "titles": TITLES}


def table_file(name: str) -> str:
    """Return the file of a table beside the report: ``value_table3.csv``."""
    return f"{name.replace('/', '_')}.csv"


def write_tables(tables: Sequence[TableBeside], judgements: Sequence[Judgement], folder: Path) -> list[Path]:
    """Write one CSV file a printed table, a line a printed cell and setting, and one of the claims; return the files.

    Raises:
        StorageError: if the disk does not take them.
    """
    names = dict.fromkeys(table.artefact.name for table in tables)
    files = [
        _write(
            folder / table_file(name),
            TABLE_COLUMNS,
            [line for table in tables if table.artefact.name == name for line in _table_lines(table)],
        )
        for name in names
    ]
    if judgements:
        files.append(_write(folder / CLAIMS_FILE, CLAIM_COLUMNS, [_claim_line(each) for each in judgements]))
    return files


def _table_lines(table: TableBeside) -> list[Sequence[object]]:
    return [
        (*_setting(table), cell.printed.row, cell.printed.column, cell.printed.unit, cell.printed.text, *_ours(cell))
        for cell in table.cells
    ]


def _ours(cell: CellBeside) -> tuple[object, ...]:
    ours, remarks = cell.ours, "; ".join(cell.remarks)
    if ours is None:
        return ("",) * 6 + (remarks,)
    return (ours.value, ours.low, ours.high, ours.n, ours.num_seeds, ours.num_prober_seeds, remarks)


def _claim_line(each: Judgement) -> Sequence[object]:
    claim = each.claim
    words = (claim.paper, claim.claim_id, claim.claim, claim.statistic, claim.direction)
    return (*words, *_setting(each), each.verdict.value, each.reason)


def _setting(each: TableBeside | Judgement) -> tuple[str, str, str]:
    setting = each.setting
    if setting is None:
        return "", "", ""
    return setting.dataset, setting.size, "random" if setting.is_random else setting.weights or "trained"


def _write(path: Path, columns: Sequence[str], lines: Iterable[Sequence[object]]) -> Path:
    with replacing(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(lines)
    return path


def _shown_at(table: TableBeside, row: str, column: str, marks: Mapping[str, str]) -> ShownCell | None:
    cell = table.find(row, column)
    return None if cell is None else shown(cell, marks)


def _number(value: float, printed: PublishedCell) -> str:
    digits = printed.digits if printed.text else 2
    while 0 < abs(value) < 10 ** (1 - digits) and digits < MOST_DIGITS:  # at least two that say something
        digits += 1
    return f"{value:.{digits}f}".replace("-", "\u2212")


def _letters(index: int) -> str:
    first, last = divmod(index, 26)
    return (_letters(first - 1) if first else "") + chr(ord("a") + last)
