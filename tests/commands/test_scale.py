"""The same numbers from many processes: ddp, and a sweep by joblib."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.conftest import SMALLEST, Command
from vlp.results import read_results

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> None:
    command = [sys.executable, str(ROOT / "probe.py"), "weights=random", *SMALLEST, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_two_processes_give_the_table_of_one(command: Command):
    split = ("dataset.size=10", "dataset.batch_size=4")
    run(*split, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    (table,) = Path("outputs/cells").glob("*/results.csv")
    both = read_results(table)
    assert command("probe", "weights=random", *SMALLEST, *split, "force=true").status == 0
    alone = read_results(table)
    assert [record.identity for record in both] == [record.identity for record in alone]
    assert [record.value for record in both] == pytest.approx([record.value for record in alone], abs=1e-6)
    assert {record.n for record in both} == {10}


def test_joblib_runs_the_same_cells(command: Command):
    run("-m", "model=uniter,lxmert", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    (sweep,) = Path("outputs/sweeps").iterdir()
    assert {record.model for record in read_results(sweep / "results.csv")} == {"uniter", "lxmert"}
    cells = {path.name: path.stat().st_mtime_ns for path in Path("outputs/cells").glob("[!.]*")}
    assert command("probe", "-m", "weights=random", *SMALLEST, "model=uniter,lxmert").status == 0
    assert {path.name: path.stat().st_mtime_ns for path in Path("outputs/cells").glob("[!.]*")} == cells
