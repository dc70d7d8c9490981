"""What of a published table or figure has been measured: which cells its experiment has, and which are finished."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from vlp.configs import read_option
from vlp.published import ARTEFACTS
from vlp.results import RESULTS_FILE, Record, read_results

log = logging.getLogger(__name__)

ROOT = Path("outputs/reproduce")
"""Where artefacts are measured unless another place is given."""

UNTRAINED = "random"
"""Weights that are a control: they finish no cell of a paper's table."""

SWEEP_FILE = "multirun.yaml"
"""What a sweep writes into its directory before its first cell."""

ASKED = ("seed", "size")
"""What any artefact may be asked for in several, each of which is to have every cell."""

Cell = Mapping[str, str]
"""What tells a cell of an experiment from the others: option by group."""


@dataclass(frozen=True)
class State:
    """How much of an artefact is there.

    Args:
        name: ``<paper>/<artefact>``.
        done: cells that are finished.
        total: cells of its experiment, for each seed and size asked for; None where there is no experiment yet.
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
    """Return the state of an artefact that is measured into ``folder``, by what its last sweep was asked for."""
    if name not in ARTEFACTS:
        return State(name, 0, None)
    cells = cells_of(ARTEFACTS[name].experiment, asked_of(folder))
    found = finished_records(folder)
    return State(name, sum(any(_is_of(cell, record) for record in found) for cell in cells), len(cells))


def cells_of(experiment: str, asked: Mapping[str, Sequence[str]] = MappingProxyType({})) -> list[Cell]:
    """Return the cells that a sweep expands to by its own parameters, and by what it was ``asked`` for besides.

    Raises:
        ValueError: if there is no such experiment, or it sweeps over nothing.
    """
    params = read_option("experiment", experiment).get("hydra", {}).get("sweeper", {}).get("params") or {}
    if not params:
        raise ValueError(f"experiment={experiment} sweeps over nothing: it has no hydra.sweeper.params")
    own = {key: value if isinstance(value, list) else str(value).split(",") for key, value in params.items()}
    choices = {**own, **asked}
    return [dict(zip(choices, map(str, chosen), strict=True)) for chosen in product(*choices.values())]


def asked_of(folder: Path) -> dict[str, list[str]]:
    """Return the seeds and sizes that the last sweep into ``folder`` was asked for; what was not said is left out."""
    path = folder / SWEEP_FILE
    try:
        words: Any = OmegaConf.to_container(OmegaConf.load(path).hydra.overrides.task)
        overrides = OverridesParser.create().parse_overrides([*map(str, words)])
        return {each.key_or_group: _values(each) for each in overrides if each.key_or_group in ASKED}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, YAMLError, OmegaConfBaseException, HydraException) as error:
        log.warning("%s does not say which seeds and sizes were asked for, so any count: %s", path, error)
        return {}


def _values(override: Override) -> list[str]:
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    return [override.get_value_element_as_str()]


def finished_records(folder: Path) -> list[Record]:
    """Return the rows of the finished cells that a sweep's directory links to."""
    tables = sorted((folder / "cells").glob(f"*/{RESULTS_FILE}"))
    return [record for table in tables for record in read_results(table)]


def _is_of(cell: Cell, record: Record) -> bool:
    return record.weights != UNTRAINED and all(
        str(getattr(record, group, option)) == option for group, option in cell.items()
    )
