"""The tidy table: ``results.csv``, written whole, read back as it was."""

from __future__ import annotations

import csv
import dataclasses
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vlp.durable.digests import check_digest
from vlp.durable.files import replacing
from vlp.results.rows import COLUMNS, Record, Row, Subject, check, describe

log = logging.getLogger(__name__)

_READERS: dict[str, type[int] | type[float]] = {"int": int, "float": float}
_TYPES = {field.name: str(field.type).split(" ")[0] for field in dataclasses.fields(Record)}
_OPTIONAL = frozenset(field.name for field in dataclasses.fields(Record) if "None" in str(field.type))


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
    """Write a table, each line checked, each about something else.

    Raises:
        ValueError: if two lines are of the same thing, or a value is not what its column says.
    """
    for record in records:
        check(record)
    if repeated := _repeated(records):
        raise ValueError(f"two rows say the same thing: {describe(repeated)}")
    _write(path, records)


def _repeated(records: Iterable[Record]) -> Record | None:
    """Return the first line that is of the same thing as one before it."""
    seen: set[tuple[Any, ...]] = set()
    for record in records:
        if record.identity in seen:
            return record
        seen.add(record.identity)
    return None


def _write(path: Path | str, records: Iterable[Record]) -> None:
    with replacing(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([_written(getattr(record, name)) for name in COLUMNS] for record in records)


def read_results(path: Path | str) -> list[Record]:
    """Return the lines of a ``results.csv``; empty cells are None in number columns, words stay words (``none`` too).

    Raises:
        ValueError: naming file, line and column of what is not as `write_results` writes it.
        DamagedError: if a sha256 stands beside it and is another's.
    """
    check_digest(Path(path))
    with Path(path).open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        header = next(lines, [])
        if tuple(header) != COLUMNS:
            raise ValueError(f"{path}: expected the columns {','.join(COLUMNS)}, found {','.join(header) or 'nothing'}")
        return [_read(line, f"{path}, line {lines.line_num}") for line in lines]


def concatenate(sources: Iterable[Path | str], target: Path | str) -> None:
    """Write the lines of several tables, each once, as one.

    Cells that differ in something no column says (``dataset.size``) stand side by side, with a warning.
    """
    lines = dict.fromkeys(record for source in sources for record in read_results(source))
    if repeated := _repeated(lines):
        log.warning("%s: cells differ in what no column says; one of the rows: %s", target, describe(repeated))
    _write(target, lines)


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
