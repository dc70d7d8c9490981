"""The store of finished cells, and the links by which a run or a sweep gathers its own.

A finished cell is a folder that appears in the store all at once, by a rename.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from vlp.durable.digests import DamagedError, check_digest, file_digest, write_sidecar
from vlp.durable.files import replace_link, storage_errors, sync_folder, sync_tree
from vlp.results.table import concatenate

log = logging.getLogger(__name__)

RESULTS_FILE, RUN_FILE, CELLS_FOLDER, FIGURES_FOLDER = "results.csv", "run.json", "cells", "figures"


class CellStore:
    """Folders of finished cells, named by the first 12 digits of their content hash.

    A cell is written under a temporary name, made durable and renamed when it is done, so what stands under its own
    name is whole; its table and its record have their sha256 beside them.

    Args:
        root: ``outputs/cells``.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def path(self, cell: str) -> Path:
        """Return where the cell stands, or will."""
        return self.root / cell

    def is_finished(self, cell: str) -> bool:
        """Whether the cell's results exist and are what was written; a warning tells of those that are not."""
        folder = self.path(cell)
        if not folder.is_dir():
            return False
        try:
            for name in (RESULTS_FILE, RUN_FILE):
                if not check_digest(folder / name):
                    raise DamagedError(f"{folder / name} is missing, or its sha256 beside it is")
        except (DamagedError, OSError) as error:
            log.warning("cell %s does not count as measured: %s", cell, error)
            return False
        return True

    @contextlib.contextmanager
    def writing(self, cell: str) -> Iterator[Path]:
        """Give a temporary folder that becomes the cell's when the block ends well, and is removed when it does not.

        What killed processes left of this cell is removed first: the caller holds the cell's lock.

        Raises:
            StorageError: if the disk does not take it; a cell that stood there stands there still.
        """
        temporary = self.root / f".{cell}-{uuid.uuid4().hex[:8]}"
        for leftover in self.root.glob(f".{cell}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        with storage_errors(self.path(cell)):
            temporary.mkdir(parents=True)
        try:
            yield temporary
            self._publish(temporary, cell)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _publish(self, temporary: Path, cell: str) -> None:
        for name in (RESULTS_FILE, RUN_FILE):
            write_sidecar(temporary / name, file_digest(temporary / name))
        sync_tree(temporary)
        target, old = self.path(cell), temporary.with_name(f"{temporary.name}-old")
        with storage_errors(target):
            if target.exists():  # asked for again with force=true, or damaged
                os.rename(target, old)
            try:
                os.rename(temporary, target)
            except OSError:
                if old.exists():
                    os.rename(old, target)
                raise
            sync_folder(self.root)
        shutil.rmtree(old, ignore_errors=True)


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
    with storage_errors(link):
        link.parent.mkdir(parents=True, exist_ok=True)
    replace_link(link, target)


def gather(run_dir: Path) -> Path | None:
    """Concatenate the results of the cells linked into ``run_dir``; return the table, None where there is no cell."""
    tables = sorted((run_dir / CELLS_FOLDER).glob(f"*/{RESULTS_FILE}"))
    if not tables:
        return None
    concatenate(tables, run_dir / RESULTS_FILE)
    return run_dir / RESULTS_FILE
