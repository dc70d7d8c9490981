"""Experiments that are sweeps: the exact cells each expands to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.commands.conftest import Command
from tests.conftest import ROOT
from vlp.commands import app
from vlp.commands.app import Plan

ONE = """# @package _global_
entry: probe
weights: random
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      model: uniter,lxmert
      seed: 0,1
"""
TWO = """# @package _global_
entry: probe
weights: random
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      model: [visualbert, uniter]
      size: small
"""


@pytest.fixture
def experiments(in_temporary_folder: Path) -> None:
    folder = in_temporary_folder / "mine" / "experiment" / "paper"
    folder.mkdir(parents=True)
    (folder / "one.yaml").write_text(ONE)
    (folder / "two.yaml").write_text(TWO)


def asked(plans: list[Plan]) -> list[tuple[str, str, int]]:
    return [(plan.config["model"]["name"], plan.config["size"]["name"], plan.config["seed"]) for plan in plans]


def run(command: Command, *arguments: str) -> str:
    return command("probe", "--config-dir", "mine", *arguments).err


ONES = [("uniter", "tiny", 0), ("uniter", "tiny", 1), ("lxmert", "tiny", 0), ("lxmert", "tiny", 1)]
TWOS = [("visualbert", "small", 0), ("uniter", "small", 0)]


def test_an_experiment_runs_all_its_cells_without_being_told_to_sweep(
    experiments: None, command: Command, plans: list[Plan]
):
    run(command, "experiment=paper/one")
    assert asked(plans) == ONES


def test_each_experiment_of_a_list_is_expanded_by_its_own_parameters(
    experiments: None, command: Command, plans: list[Plan]
):
    run(command, "-m", "experiment=paper/one,paper/two")
    assert asked(plans) == ONES + TWOS
    assert len({plan.run_dir for plan in plans}) == 1


def test_the_command_line_wins_over_an_experiments_parameters(experiments: None, command: Command, plans: list[Plan]):
    run(command, "-m", "experiment=paper/one,paper/two", "model=lxmert", "seed=5,6")
    assert asked(plans) == [("lxmert", size, seed) for size in ("tiny", "small") for seed in (5, 6)]


def test_a_sweep_without_experiment_is_the_product(command: Command, plans: list[Plan]):
    command("probe", "-m", "weights=random", "model=uniter,lxmert", "seed=range(2)")
    assert asked(plans) == ONES


def test_the_flag_may_stand_anywhere(command: Command, plans: list[Plan]):
    command("probe", "weights=random", "-m", "model=uniter,lxmert", "seed=0,1")
    assert asked(plans) == ONES


def test_a_list_that_expands_to_nothing_is_an_error(command: Command, plans: list[Plan]):
    answer = command("probe", "-m", "weights=random", "model=glob(nothing*)")
    assert answer.status == 1
    assert answer.error == "error: nothing to run: weights=random model=glob(nothing*) expands to no cell"
    assert plans == []


def test_a_parameter_without_values_makes_no_cell(experiments: None, command: Command, plans: list[Plan]):
    empty = Path("mine/experiment/paper/empty.yaml")
    empty.write_text(ONE.replace("uniter,lxmert", "[]"))
    assert run(command, "experiment=paper/empty").strip().endswith("experiment=paper/empty expands to no cell")
    assert asked(plans) == []
    run(command, "experiment=paper/empty", "model=uniter")
    assert asked(plans) == ONES[:2]


def test_a_mistake_in_one_cell_is_found_before_any_is_run(command: Command, plans: list[Plan]):
    answer = command("probe", "-m", "weights=random", "model=uniter,unitr")
    assert answer.error == "error: model=unitr is not an option; did you mean uniter?"
    assert plans == []


def test_every_failed_cell_is_named(experiments: None, command: Command, plans: list[Plan]):
    said = run(command, "experiment=paper/two")
    assert "error: 2 of 2 cells failed:\n" in said
    assert "  model=visualbert size=small experiment=paper/two: " in said
    assert "  model=uniter size=small experiment=paper/two: " in said


def test_sweeps_have_their_own_directories_even_in_the_same_second(command: Command, plans: list[Plan]):
    for _ in range(2):
        command("probe", "-m", "weights=random", "model=uniter")
    first, second = (Path(plan.run_dir) for plan in plans)
    assert first != second
    assert first.parent == second.parent == Path("outputs/sweeps").resolve()


def test_a_sweep_of_trainings_gives_each_the_folder_of_its_content(command: Command, plans: list[Plan]):
    command("train", "-m", "seed=0,1")
    assert [plan.run_dir for plan in plans] == [str(Path("outputs/train").resolve() / plan.cell) for plan in plans]
    assert len({plan.cell for plan in plans}) == 2


def test_the_folder_of_a_training_is_the_same_in_a_sweep_alone_and_as_a_recipe(command: Command, plans: list[Plan]):
    command("train", "experiment=scenes")
    command("train", "-m", "experiment=scenes")
    command("probe", "weights=recipe:scenes")
    recipe = plans[2].weights.training
    assert recipe is not None
    assert plans[0].run_dir == plans[1].run_dir == recipe.run_dir
    assert plans[0].content == plans[1].content == recipe.content


@pytest.fixture
def environments(plans: list[Plan], monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, str]]:
    """Collect what each cell's process would be given, and start none."""
    given: list[Mapping[str, str]] = []
    keep = app.carry_out_in_child

    def start(plan: Plan, environment: Mapping[str, str]) -> Path:
        given.append(environment)
        return keep(plan, environment)

    monkeypatch.setattr(app, "carry_out_in_child", start)
    return given


@pytest.mark.parametrize(
    ("visible", "devices", "given"),
    [
        ("0, 1", "1", ["0", "1", "0"]),
        ("GPU-a,GPU-b,GPU-c,GPU-d", "1", ["GPU-a", "GPU-b", "GPU-c"]),
        ("0,1", "2", ["0,1"] * 3),  # a cell of several processes needs them all
        ("0,1", "auto", ["0,1"] * 3),
        ("", "1", [""] * 3),  # the user hides them
        ("3", "1", ["3"] * 3),
    ],
)
def test_cells_that_want_one_gpu_take_turns_on_those_there_are(
    visible: str,
    devices: str,
    given: list[str],
    command: Command,
    environments: list[Mapping[str, str]],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    command("probe", "-m", "weights=random", "seed=0,1,2", f"trainer.devices={devices}")
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in environments] == given


def test_the_launcher_for_slurm_composes(command: Command):
    shown = command("probe", "hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu", "--cfg", "hydra")
    assert shown.status == 0, shown.err
    assert "partition: gpu" in shown.out
    assert "submitit_launcher.SlurmLauncher" in shown.out


FOUR = ("swin_vlp", "soho", "uniter", "vilt")
CELLS = {
    "visual_parsing/figure2": [("masks", None, "swin_vlp")],
    **{
        f"visual_parsing/figure{number}": [(probe, None, model) for model in FOUR for probe in ("imf", "pretraining")]
        for number in (3, 4)
    },
    "visual_parsing/figure5": [("nmi", None, model) for model in FOUR],
    "visual_parsing/table5": [(probe, None, "swin_vlp") for _ in range(5) for probe in ("imf", "pretraining")],
    "value/table3": [
        (probe, prober, model)
        for probe in ("vcd", "vcc")
        for prober in ("attention", "embedding")
        for model in ("uniter", "lxmert")
    ],
}
"""The exact cells of every experiment that is a sweep; an artefact adds its own."""
RECIPES = {"scenes", "visual_parsing/ablation", "visual_parsing/pretrain", "visual_parsing/pretrain_224"}


def test_every_experiment_of_ours_is_a_recipe_or_stands_here():
    folder = ROOT / "conf" / "experiment"
    names = {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml")}
    assert names == {*RECIPES, *CELLS}


@pytest.mark.parametrize("name", CELLS)
def test_an_experiment_of_ours_has_exactly_these_cells(name: str, command: Command, plans: list[Plan]):
    command("probe", f"experiment={name}", "weights=random")
    of = [(plan.config["run"]["probe"], plan.config["run"]["prober"], plan.config["model"]["name"]) for plan in plans]
    assert of == CELLS[name]
