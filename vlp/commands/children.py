"""Having a plan carried out in a fresh process, which `vlp.commands.cell` is."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from vlp.commands.plans import Plan
from vlp.commands.processes import run_child
from vlp.results import CellStore

log = logging.getLogger(__name__)

PARENT = "VLP_PARENT"
"""Environment variable with the process that a child belongs to."""


class CellError(RuntimeError):
    """A plan failed in its own process; the message is what it said."""


def carry_out_in_child(plan: Plan, environment: Mapping[str, str]) -> Path:
    """Do what ``plan`` says in a fresh process, unless it is a finished cell; return the folder of its results.

    Raises:
        CellError: if it failed.
    """
    if plan.entry == "probe" and (finished := finished_cell(plan)):
        return finished
    with tempfile.TemporaryDirectory(prefix="vlp-") as folder:
        path = Path(folder) / "plan.json"
        plan.save(path)
        status = run_child(["-m", "vlp.commands.cell", str(path)], {**environment, PARENT: str(os.getpid())})
        said = error_file(path)
        if status != 0:
            raise CellError(said.read_text("utf-8") if said.is_file() else f"its process ended with status {status}")
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


def error_file(plan: Path) -> Path:
    """Return where a child leaves the message of its error, beside its plan."""
    return plan.with_suffix(".error")
