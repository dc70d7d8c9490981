"""The store of finished cells, and the links by which a run or a sweep gathers its own.

A finished cell is a folder that appears in the store all at once, by a rename.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vlp.results.table import concatenate

RESULTS_FILE, RUN_FILE, CELLS_FOLDER, FIGURES_FOLDER = "results.csv", "run.json", "cells", "figures"


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


def forget_cells(run_dir: Path) -> None:
    """Remove the links that an earlier run left in ``run_dir``: what it gathers next is its own."""
    for link in (run_dir / CELLS_FOLDER).glob("*"):
        if link.is_symlink():
            link.unlink()


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
