"""What of a published table or figure has been measured: which cells its experiment has, and which are finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from vlp.configs import read_option
from vlp.published import ARTEFACTS
from vlp.results import RESULTS_FILE, Record, read_results

ROOT = Path("outputs/reproduce")
"""Where artefacts are measured unless another place is given."""

UNTRAINED = "random"
"""Weights that are a control: they finish no cell of a paper's table."""

Cell = Mapping[str, str]
"""What tells a cell of an experiment from the others: option by group."""


@dataclass(frozen=True)
class State:
    """How much of an artefact is there.

    Args:
        name: ``<paper>/<artefact>``.
        done: cells that are finished.
        total: cells of its experiment; None where there is no experiment yet.
    """

    name: str
    done: int
    total: int | None

    @property
    def words(self) -> str:
        """The state for a reader."""
        if self.total is None:
            return "not here yet: no experiment yet"
        if self.done < self.total:
            return f"partly: {self.done} of {self.total} cells" if self.done else f"missing: {self.total} cells"
        return f"done: {self.total} cells"


def state_of(name: str, folder: Path) -> State:
    """Return the state of an artefact that is measured into ``folder``."""
    if name not in ARTEFACTS:
        return State(name, 0, None)
    cells = cells_of(ARTEFACTS[name].experiment)
    found = finished_records(folder)
    return State(name, sum(any(_is_of(cell, record) for record in found) for cell in cells), len(cells))


def cells_of(experiment: str) -> list[Cell]:
    """Return the cells that a sweep expands to by its own parameters.

    Raises:
        ValueError: if there is no such experiment, or it sweeps over nothing.
    """
    params = read_option("experiment", experiment).get("hydra", {}).get("sweeper", {}).get("params") or {}
    if not params:
        raise ValueError(f"experiment={experiment} sweeps over nothing: it has no hydra.sweeper.params")
    choices = {key: value if isinstance(value, list) else str(value).split(",") for key, value in params.items()}
    return [dict(zip(choices, map(str, chosen), strict=True)) for chosen in product(*choices.values())]


def finished_records(folder: Path) -> list[Record]:
    """Return the rows of the finished cells that a sweep's directory links to."""
    tables = sorted((folder / "cells").glob(f"*/{RESULTS_FILE}"))
    return [record for table in tables for record in read_results(table)]


def _is_of(cell: Cell, record: Record) -> bool:
    return record.weights != UNTRAINED and all(
        getattr(record, group, option) == option for group, option in cell.items()
    )
