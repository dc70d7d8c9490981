"""Having a plan carried out in a fresh process, which `vlp.commands.cell` is."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from vlp.commands.plans import Plan
from vlp.commands.processes import PARENT, run_child
from vlp.commands.ranks import words_file
from vlp.commands.weights import CHECKPOINT
from vlp.durable.stopping import Stopped
from vlp.results import CellStore

log = logging.getLogger(__name__)


class CellError(RuntimeError):
    """A plan failed or was stopped in its own process; the message is what that process said."""


class SweepStopped(Stopped):
    """A sweep was told to stop, and so were its cells.

    Args:
        reason: the signal.
        folder: the sweep's.
        done: the cells that are.
        left: the cells that are not, each with the reason.
    """

    def __init__(self, reason: str, folder: Path, done: Sequence[str], left: Sequence[str]) -> None:
        super().__init__(reason, saved=folder)
        self.done, self.left = list(done), list(left)

    def __str__(self) -> str:
        """Return what happened, a line a cell."""
        return "\n".join(
            [
                f"stopped by {self.reason}: {len(self.done)} of {len(self.done) + len(self.left)} cells done",
                *(f"  done: {cell}" for cell in self.done),
                *(f"  not done: {cell}" for cell in self.left),
            ]
        )


def carry_out_in_child(plan: Plan, environment: Mapping[str, str]) -> Path:
    """Do what ``plan`` says in a fresh process; return the folder of its results.

    Raises:
        CellError: if it failed, or was stopped as part of a sweep.
        Stopped: if this process was told to stop, when the child has saved what it can.
    """
    with tempfile.TemporaryDirectory(prefix="vlp-") as folder:
        path = Path(folder) / "plan.json"
        plan.save(path)
        said = words_file(Path(folder))
        try:
            status = run_child(["-m", "vlp.commands.cell", str(path)], {**environment, PARENT: str(os.getpid())})
        except Stopped as stopped:
            raise Stopped(stopped.reason, _checkpoint(plan)) from None
        if plan.entry == "probe" and not plan.force and store_of(plan).is_finished(plan.cell):
            return store_of(plan).path(plan.cell)  # whatever hit its process after that
        if said.is_file():
            raise CellError(said.read_text("utf-8"))
        if status != 0:
            raise CellError(f"its process ended with status {status}")
    return Path(plan.run_dir) if plan.entry == "train" else store_of(plan).path(plan.cell)


def finished_cell(plan: Plan) -> Path | None:
    """Return the folder of a cell that need not be measured, None of one that must."""
    store = store_of(plan)
    if plan.force or not store.is_finished(plan.cell):
        return None
    log.info("cell %s is finished; force=true measures it again", plan.cell)
    return store.path(plan.cell)


def store_of(plan: Plan) -> CellStore:
    """Return the store that the plan's cell belongs to."""
    return CellStore(Path(plan.outputs) / "cells")


def _checkpoint(plan: Plan) -> Path | None:
    """Return the checkpoint from which a training that was stopped goes on, if there is one."""
    checkpoint = Path(plan.run_dir) / CHECKPOINT
    return checkpoint if plan.entry == "train" and checkpoint.is_file() else None
