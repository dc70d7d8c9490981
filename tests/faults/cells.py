"""What a sweep leaves in the store of cells, and the processes of those that run."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.faults.commands import Command
from tests.faults.harness import descendants

CELLS = Path("outputs") / "cells"


def finished(folder: Path) -> dict[str, int]:
    """Return the finished cells with the time each was made."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / CELLS).glob("[!.]*")}


def tables(folder: Path) -> dict[str, bytes]:
    """Return the tables of finished cells."""
    return {name: (folder / CELLS / name / "results.csv").read_bytes() for name in finished(folder)}


def half(folder: Path) -> list[Path]:
    """Return what stands in the store of cells that are being measured, or were."""
    return [path for path in (folder / CELLS).glob(".*-*") if path.is_dir()]


def cells_of(sweep: Command) -> list[int]:
    """Return the processes of cells that run."""
    found = []
    for child in descendants(sweep.process.pid):
        if b"vlp.commands.cell" in Path(f"/proc/{child}/cmdline").read_bytes():
            found.append(child)
    return found


def rows(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def unless(holds: bool, wrong: str) -> list[str]:
    """Return what is ``wrong`` unless something holds, for a list of it."""
    return [] if holds else [wrong]
