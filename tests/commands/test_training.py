"""Trainings and recipes: made once, found again, and never mixed up."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.commands.conftest import Command
from vlp.commands import cell, probe
from vlp.commands.plans import Plan
from vlp.configs import read_option
from vlp.results import read_results

QUICK = """# @package _global_
defaults:
  - override /callbacks: none
entry: train
expected_time: two seconds
dataset: {size: 16, batch_size: 4}
trainer: {max_steps: 2, val_check_interval: 2, accelerator: cpu}
"""
PROBE = ("weights=recipe:quick", "size=nano", "dataset.size=8", "trainer.accelerator=cpu")


def write_recipe(folder: Path) -> None:
    """Write a recipe and a size that train in a moment into ``folder/mine``."""
    nano = read_option("size", "tiny") | {"name": "nano", "width": 16, "heads": 2, "feed_forward": 32, "layers": 1}
    for group, name, text in [("experiment", "quick", QUICK), ("size", "nano", json.dumps(nano))]:
        (folder / "mine" / group).mkdir(parents=True)
        (folder / "mine" / group / f"{name}.yaml").write_text(text)


@pytest.fixture
def recipe(in_temporary_folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Write the recipe, and train in this process; return what was trained."""
    write_recipe(in_temporary_folder)
    trained: list[Plan] = []

    def train(plan: Plan, environment: dict[str, str]) -> Path:
        trained.append(plan)
        return cell.carry_out(plan)

    monkeypatch.setattr(probe, "carry_out_in_child", train)
    return trained


def train(command: Command, *arguments: str) -> Path:
    done = command("train", "--config-dir", "mine", "experiment=quick", "size=nano", *arguments)
    assert done.status == 0, done.err
    (folder,) = (path for path in Path("outputs/train").iterdir() if path.is_dir())
    return folder


def test_a_training_leaves_real_files_and_its_record(recipe: list[Plan], command: Command):
    folder = train(command)
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    with (folder / "metrics.csv").open() as file:
        assert {"step", "train/loss"} <= set(csv.DictReader(file).fieldnames or ())
    record = json.loads((folder / "run.json").read_text())
    assert record["finished"] is True
    assert record["content_hash"][:12] == folder.name


def test_a_training_needs_neither_callbacks_nor_a_tracker(recipe: list[Plan], command: Command):
    assert (train(command, "~callbacks", "~logger") / "metrics.csv").is_file()


def test_a_finished_training_is_left_as_it_is(recipe: list[Plan], command: Command):
    folder = train(command)
    before = {path: path.stat().st_mtime_ns for path in (folder / "checkpoints").iterdir()}
    train(command)
    assert {path: path.stat().st_mtime_ns for path in (folder / "checkpoints").iterdir()} == before


def test_another_configuration_does_not_go_on_from_it(recipe: list[Plan], command: Command):
    folder = train(command)
    answer = command(
        "train", "--config-dir", "mine", "experiment=quick", "size=nano", "seed=1", f"hydra.run.dir={folder}"
    )
    assert answer.status == 1
    assert answer.error.startswith(
        f"error: {folder.resolve()} holds a checkpoint of another configuration ({folder.name}, this one is "
    )
    assert answer.error.endswith("give another hydra.run.dir, or resume=never")


def test_a_recipe_is_trained_on_first_use_and_then_found(recipe: list[Plan], command: Command):
    for seed in (0, 1):
        done = command("probe", "--config-dir", "mine", f"seed={seed}", *PROBE)
        assert done.status == 0, done.err
    assert len(recipe) == 1
    (folder,) = (path for path in Path("outputs/train").iterdir() if path.is_dir())
    assert recipe[0].run_dir == str(folder.resolve())
    for table in Path("outputs/cells").glob("*/results.csv"):
        (weights,) = {record.weights for record in read_results(table)}
        sha256 = json.loads((table.parent / "run.json").read_text())["weights_sha256"]
        assert weights == f"quick-{sha256[:8]}"


def test_a_recipe_that_was_trained_by_hand_is_found(recipe: list[Plan], command: Command):
    train(command)
    done = command("probe", "--config-dir", "mine", *PROBE)
    assert done.status == 0, done.err
    assert recipe == []


def test_it_says_what_it_trains_and_how_long_that_takes(recipe: list[Plan], command: Command):
    said = command("probe", "--config-dir", "mine", *PROBE).out
    assert (
        "weights=recipe:quick: no checkpoint for model=uniter size=nano dataset=scenes seed=0; training it, 2 steps "
        "(two seconds), into "
    ) in said


def test_weights_trained_on_other_features_are_refused(recipe: list[Plan], command: Command):
    folder = train(command)
    weights = f"weights={folder}/checkpoints/last.ckpt"
    answer = command("probe", "--config-dir", "mine", *PROBE[1:], weights, "dataset.feature_width=32")
    assert answer.status == 1
    assert "were trained on features of width 64, dataset scenes has width 32" in answer.error
