"""The same numbers from many processes: ddp, and a sweep by joblib."""

from __future__ import annotations

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


def run(entry: str, *arguments: str) -> None:
    """Run a command with all threads of the machine, as a user does."""
    command = [sys.executable, str(ROOT / f"{entry}.py"), *SMALLEST, *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr


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


def test_joblib_runs_the_same_cells(command: Command):
    run("probe", "-m", "weights=random", "model=uniter,lxmert", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    (sweep,) = Path("outputs/sweeps").iterdir()
    assert {record.model for record in read_results(sweep / "results.csv")} == {"uniter", "lxmert"}
    cells = {path.name: path.stat().st_mtime_ns for path in Path("outputs/cells").glob("[!.]*")}
    assert command("probe", "-m", "weights=random", *SMALLEST, "model=uniter,lxmert").status == 0
    assert {path.name: path.stat().st_mtime_ns for path in Path("outputs/cells").glob("[!.]*")} == cells
