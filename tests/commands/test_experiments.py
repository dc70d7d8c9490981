"""The cells of every experiment that measures a table or figure of a paper."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.commands.conftest import Command
from vlp.commands.app import Plan
from vlp.published import ARTEFACTS
from vlp.reproduce.state import asked_of, cells_of


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


def test_rows_of_table_5_are_five_trainings_of_the_models_that_are_measured(command: Command, plans: list[Plan]):
    command("probe", "experiment=visual_parsing/table5", "probe=imf")
    found = {plan.config["row"]["name"]: plan for plan in plans}
    trainings = {name: plan.weights.training.config for name, plan in found.items()}
    assert {name: built(training) for name, training in trainings.items()} == {
        name: built(plan.config) for name, plan in found.items()
    }
    parsers = {name: training["model"]["embeddings"]["parser"]["name"] for name, training in trainings.items()}
    swin = "swin_tiny_patch4_window7_224"
    assert parsers == {"r50": "resnet50", "r101": "resnet101", "no_mfr": swin, "random_mfr": swin, "mfr": swin}
    masked = {name: training["objective"]["parts"]["mfr"] for name, training in trainings.items()}
    assert {name: part and part["module"]["corruption"]["masking"] for name, part in masked.items()} == {
        "r50": None,
        "r101": None,
        "no_mfr": None,
        "random_mfr": "random",
        "mfr": "parsed",
    }
    has_vector = {name: training["model"]["embeddings"]["masked_cell"] for name, training in trainings.items()}
    assert has_vector == {name: part is not None for name, part in masked.items()}
    assert {plan.weights.name for plan in plans} == {f"visual_parsing_ablation@{name}" for name in found}
    assert len({plan.weights.path for plan in plans}) == 5


def built(config: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what a checkpoint's shapes go by; rates of dropout are a training's own."""
    model = config["model"]
    parser = model["embeddings"]["parser"]
    return (
        parser["_target_"],
        parser["name"],
        parser["options"],
        model["embeddings"]["masked_cell"],
        model["stack"]["layers"],
    )


def test_seeds_of_table_5_are_those_of_its_trainings(command: Command, plans: list[Plan]):
    command("probe", "experiment=visual_parsing/table5", "probe=imf", "row=mfr", "seed=0,1,2")
    assert [plan.config["seed"] for plan in plans] == [0, 1, 2]
    assert [plan.weights.training.config["seed"] for plan in plans] == [0, 1, 2]
    assert asked_of(Path(plans[0].run_dir)) == {"seed": ["0", "1", "2"]}


def test_rows_of_table_5_can_be_checkpoints_of_ones_own(command: Command, plans: list[Plan], in_temporary_folder: Path):
    (in_temporary_folder / "me@work.ckpt").write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    command("probe", "experiment=visual_parsing/table5", "probe=imf", "weights=me@work.ckpt")
    command("probe", "experiment=visual_parsing/figure3", "probe=imf", "model=swin_vlp", "weights=me@work.ckpt")
    rows = ["r50", "r101", "no_mfr", "random_mfr", "mfr"]
    assert [plan.weights.name for plan in plans] == [
        *(f"me_work@{row}-{sha256[:8]}" for row in rows),
        f"me_work-{sha256[:8]}",
    ]
    assert len({plan.cell for plan in plans}) == 6
