"""The cells of every experiment that measures a table or figure of a paper."""

from __future__ import annotations

import pytest

from tests.commands.conftest import Command
from vlp.commands.app import Plan
from vlp.published import ARTEFACTS
from vlp.reproduce.state import cells_of


@pytest.mark.parametrize("name", ARTEFACTS)
def test_the_command_measures_exactly_the_cells_that_its_artefact_counts(
    name: str, command: Command, plans: list[Plan]
):
    experiment = ARTEFACTS[name].experiment
    command("probe", f"experiment={experiment}", "weights=random")
    cells = cells_of(experiment)
    assert [{group: chosen(plan, group) for group in cell} for plan, cell in zip(plans, cells, strict=True)] == cells


def chosen(plan: Plan, group: str) -> str:
    return plan.config["run"][group] if group in ("probe", "prober") else plan.config[group]["name"]
