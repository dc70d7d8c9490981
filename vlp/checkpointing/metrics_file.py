"""``metrics.csv``: what a training logs, a line at a time, never torn and never with a line twice."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from vlp.durable.files import append, write_text

log = logging.getLogger(__name__)

STEP = "step"

Row = dict[str, str]


class MetricsFile(Logger):
    """A table with one line for each call of `log_metrics` and one column a name, the columns in alphabetical order.

    Lines are appended; where one brings a new column, the file is written anew, whole or not at all. A checkpoint
    keeps the number of lines of its moment, so that a resumed training goes on after exactly these.

    Args:
        path: the file.
        keep: lines of the file that are there already and stay; the rest goes.
        guard: around each write: what is to become of a `StorageError`; lines that were not written wait in memory.
    """

    def __init__(
        self, path: Path, keep: int = 0, guard: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        super().__init__()
        self.path, self.guard = path, guard
        self.columns: list[str] = []
        self.rows = keep
        self._pending: list[Row] = []
        self._begin(keep)

    @property
    def name(self) -> str:
        """Return what Lightning calls the experiment."""
        return ""

    @property
    def version(self) -> str:
        """Return what Lightning calls the version of an experiment."""
        return ""

    @property
    def save_dir(self) -> str:
        """Return the folder of the file."""
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Pass over them: ``run.json`` and ``.hydra`` hold what a run was given."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add a line, which `save` writes."""
        self._pending.append({name: str(value) for name, value in {**metrics, STEP: step}.items()})
        self.rows += 1

    @rank_zero_only
    def save(self) -> None:
        """Write what has been logged, and have it on the disk.

        Raises:
            StorageError: if the disk does not take it, and ``guard`` lets it pass.
        """
        if self._pending:
            with self.guard():
                self._write()

    def _write(self) -> None:
        columns = sorted({*self.columns, *(name for row in self._pending for name in row)})
        if columns == self.columns:
            append(self.path, _lines(columns, self._pending).encode())
        else:
            self._rewrite(columns, [*read_rows(self.path), *self._pending])
        self._pending = []

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what has been logged."""
        self.save()

    @rank_zero_only
    def _begin(self, keep: int) -> None:
        rows = list(islice(read_rows(self.path), keep))
        if len(rows) < keep:
            log.warning("%s holds %d lines, the checkpoint was written after %d", self.path, len(rows), keep)
        self.rows = len(rows)
        self._rewrite(sorted({name for row in rows for name, value in row.items() if value}), rows)

    def _rewrite(self, columns: list[str], rows: Sequence[Row]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not rows:
            self.path.unlink(missing_ok=True)
            return
        write_text(self.path, _lines(columns, [dict(zip(columns, columns, strict=True)), *rows]))
        self.columns = columns


def _lines(columns: Sequence[str], rows: Sequence[Row]) -> str:
    text = io.StringIO(newline="")
    csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n").writerows(rows)
    return text.getvalue()


def read_rows(path: Path) -> list[Row]:
    """Return the lines of a table by column, without one that a kill has cut short; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if None not in row and None not in row.values()]
