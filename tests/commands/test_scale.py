"""The same numbers from many processes: ddp, and sweeps by any launcher on this machine."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.conftest import SMALLEST, Command
from vlp.results import read_results

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
TRAINING = ("experiment=scenes", "dataset.size=22", "dataset.batch_size=4", "trainer.max_steps=2")


def run(entry: str, *arguments: str, **more: str) -> str:
    """Run a command with all threads of the machine, as a user does; return what it said on stderr.

    Args:
        entry: train or probe.
        arguments: of the command.
        more: of the environment.
    """
    command = [sys.executable, str(ROOT / f"{entry}.py"), *SMALLEST, *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | more
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a short training on one process."""
    folder = tmp_path_factory.mktemp("trained")
    run("train", *TRAINING, f"hydra.run.dir={folder}")
    return folder


def untrained_row(folder: Path) -> str:
    """Return head and first line of the metrics: what the model that has not been trained gives on held-out pairs."""
    return "".join((folder / "metrics.csv").read_text().splitlines(keepends=True)[:2])


def test_two_processes_write_the_validation_row_of_one(trained: Path, tmp_path: Path):
    run("train", *TRAINING, *TWO, f"hydra.run.dir={tmp_path}")
    assert "val/nmi_layer_1" in untrained_row(trained)
    assert untrained_row(tmp_path) == untrained_row(trained)


@pytest.mark.parametrize("probe", ["nmi", "pretraining"])
@pytest.mark.parametrize("size", [10, 3])  # in batches of 4: the last one partial, and only one for two processes
def test_two_processes_write_the_table_of_one(
    probe: str, size: int, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    weights = f"weights={trained / 'checkpoints' / 'last.ckpt'}"
    cell = (f"probe={probe}", weights, f"dataset.size={size}", "dataset.batch_size=4")
    run("probe", *cell, *TWO)
    (table,) = Path("outputs/cells").glob("*/results.csv")
    both = table.read_text()
    run("probe", *cell, "force=true")
    assert table.read_text() == both
    assert max(record.n for record in read_results(table)) == size


FOUR = ("-m", "weights=random", "model=uniter,lxmert", "seed=0,1")
"""A sweep of four cells."""


def tables() -> list[str]:
    """Return the table of each sweep here."""
    return [table.read_text() for table in sorted(Path("outputs/sweeps").glob("*/results.csv"))]


@pytest.fixture(scope="module")
def one_after_the_other(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the table of `FOUR` by the launcher that runs one cell at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("basic"))
        run("probe", *FOUR)
        (table,) = Path("outputs/sweeps").glob("*/results.csv")
        measured = {(record.model, record.seed) for record in read_results(table)}
        assert measured == {(model, seed) for model in ("uniter", "lxmert") for seed in (0, 1)}
        return table.read_text()


@pytest.mark.parametrize("launcher", [("joblib", "hydra.launcher.n_jobs=2"), ("submitit_local",)])
def test_other_launchers_run_the_same_cells_to_the_same_table(
    launcher: tuple[str, ...], one_after_the_other: str, command: Command
):
    name, *options = launcher
    said = run("probe", *FOUR, f"hydra/launcher={name}", *options)
    assert tables() == [one_after_the_other]
    for number in range(1, 5):
        assert f"cell {number} of 4 done in " in said
    assert said.rstrip().endswith("(4 of 4 cells done)")
    assert command("probe", *FOUR, *SMALLEST).err.count(" was done: ") == 4


def test_cells_of_two_processes_finish_in_a_sweep_with_the_table_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    sweep = ("-m", "weights=random", "model=uniter,lxmert", "dataset.batch_size=2")
    run("probe", *sweep, *TWO)
    for number in range(2):
        (log,) = Path("outputs/sweeps").glob(f"*/jobs/{number}/probe.log")
        assert "GLOBAL_RANK: 1, MEMBER: 2/2" in log.read_text()
    run("probe", *sweep, "force=true")
    both, alone = tables()
    assert both == alone


IMAGES = (
    *("experiment=scenes", "model=swin_vlp", "size.swin_vlp.options.embed_dim=16", "dataset.size=48"),
    *("dataset.batch_size=4", "trainer.max_steps=8", "callbacks=none"),
)
"""A training on images of 2 + 2 texts, 6 steps of 8 images an epoch, whatever shares them out."""
LOSSES = ("val/loss", "val/mlm", "val/itm", "val/mfr", "val/vla")


def held_out_losses(folder: Path) -> list[list[float]]:
    """Return the losses of held-out images, one row a validation."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [[float(row[name]) for name in LOSSES] for row in csv.DictReader(file) if row[LOSSES[0]]]


def test_two_processes_train_to_the_losses_of_one_with_the_same_batches(tmp_path: Path):
    """To a relative 1e-5: gradients are added up in another order."""
    runs = {
        "two": (*TWO, "trainer.val_check_interval=2"),
        "one": ("trainer.accumulate_grad_batches=2", "trainer.val_check_interval=4"),
        "half": ("trainer.val_check_interval=2",),
    }
    for name, how in runs.items():
        run("train", *IMAGES, *how, f"hydra.run.dir={tmp_path / name}", OMP_NUM_THREADS="1")
    two, one, half = (held_out_losses(tmp_path / name) for name in runs)
    assert len(one) == len(two) == 5
    for ours, theirs in zip(two, one, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)
    assert half[-1] != pytest.approx(one[-1], rel=1e-3)
