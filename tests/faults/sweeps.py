"""Faults of sweeps: a finished cell stays, one that was hit is measured again, and the sweep says which is which."""

from __future__ import annotations

import csv
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.commands.conftest import SMALLEST
from tests.commands.test_training import PROBE as RECIPE
from tests.commands.test_training import write_recipe
from tests.conftest import ROOT
from tests.faults.case import Case, Verdict
from tests.faults.commands import Command, go_on, status_of
from tests.faults.harness import descendants
from tests.faults.nursery import Watch, forked_command

GROUP = "sweeps"
MODELS = ("uniter", "lxmert", "visualbert")
PROBE = ("weights=random", *SMALLEST, "probe.num_restarts=200", "dataset.size=48")
"""A cell that takes a second or two once its process has started."""
CELLS = Path("outputs") / "cells"
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def cases(seed: int, count: int | None = None) -> list[Case]:
    """Return the cases; nothing is drawn."""
    ways: dict[str, Callable[[Path], Verdict]] = {
        "SIGTERM to the parent": partial(_stopped, signal.SIGTERM),
        "SIGINT to all, under joblib": partial(_stopped, signal.SIGINT, to_all=True, launcher=JOBLIB),
        "kill -9 of the parent": _parent_killed,
        "kill -9 of a cell": _cell_killed,
        "a cell that raises": _cell_raises,
        "two sweeps over the same cells at once": _two_sweeps,
        "two processes that want the same recipe's weights": _two_recipes,
        "a finished cell that is damaged": _damaged,
    }
    return [Case(GROUP, name, run) for name, run in ways.items()][:count]


def _stopped(number: signal.Signals, folder: Path, to_all: bool = False, launcher: tuple[str, ...] = ()) -> Verdict:
    sweep = Command(_sweep(*launcher), folder)
    sweep.wait_until(lambda: _finished(folder) and _half(folder))
    sweep.send(number, to_all)
    status = sweep.end()
    done = _finished(folder)
    told = [
        *_unless(status == status_of(number), f"status {status}, expected {status_of(number)}"),
        *_unless(f"stopped by {number.name}: {len(done)} of 3 cells done" in sweep.said, "it did not say what is done"),
        *_unless(sweep.said.count("\n  done: ") == len(done), "it did not name each cell that is done"),
        *_unless(sweep.said.count("\n  not done: ") == 3 - len(done), "it did not name each cell that is not done"),
        *_unless(not _half(folder), "half a cell is left"),
    ]
    return _verdict(folder, done, go_on(sweep.last_line, folder), told)


def _parent_killed(folder: Path) -> Verdict:
    sweep = Command(_sweep(), folder)
    sweep.wait_until(lambda: _finished(folder) and _half(folder))
    sweep.process.kill()
    sweep.end()
    return _verdict(folder, _finished(folder), _again(folder), [])


def _cell_killed(folder: Path) -> Verdict:
    sweep = Command(_sweep(), folder)
    sweep.wait_until(lambda: _finished(folder) and _half(folder))
    os.kill(_cells_of(sweep)[0], signal.SIGKILL)
    status = sweep.end()
    done = _finished(folder)
    told = [
        *_unless(status == 1, f"status {status}, expected 1"),
        *_unless("error: 1 of 3 cells failed:" in sweep.said, "it did not say how many cells failed"),
        *_unless("model=lxmert: its process ended with status -9" in sweep.said, "it did not say what was killed"),
        *_unless(len(done) == 2, f"{len(done)} of the other 2 cells were measured"),
    ]
    return _verdict(folder, done, _again(folder), told)


def _cell_raises(folder: Path) -> Verdict:
    sweep = Command(_sweep(models=("bert", *MODELS)), folder)
    status = sweep.end()
    told = [
        *_unless(status == 1, f"status {status}, expected 1"),
        *_unless("error: 1 of 4 cells failed:\n  weights=random" in sweep.said, "it did not say how many cells failed"),
        *_unless("model=bert: probe nmi cannot be put to model bert" in sweep.said, "it did not say what and why"),
    ]
    return _verdict(folder, _finished(folder), _again(folder), told)


def _two_sweeps(folder: Path) -> Verdict:
    both = [Command(_sweep(), folder) for _ in range(2)]
    statuses = [sweep.end() for sweep in both]
    tables = sorted((folder / "outputs" / "sweeps").glob("*/results.csv"))
    told = [
        *_unless(statuses == [0, 0], f"statuses {statuses}: {both[0].said}{both[1].said}"),
        *_unless(len({table.read_bytes() for table in tables}) == 1, "their tables differ"),
        *_unless(len(tables) == 2, f"{len(tables)} tables of 2 sweeps"),
    ]
    return _verdict(folder, _finished(folder), _again(folder), told)


def _two_recipes(folder: Path) -> Verdict:
    write_recipe(folder)
    wanted = [sys.executable, str(ROOT / "probe.py"), "--config-dir", "mine", *RECIPE]
    both = [Command([*wanted, f"seed={seed}"], folder) for seed in range(2)]
    statuses = [probe.end() for probe in both]
    said = "".join(log.read_text("utf-8") for log in folder.glob("*said-*"))
    names = {row["weights"] for table in _finished(folder) for row in _rows(folder / CELLS / table / "results.csv")}
    (run_dir,) = (path for path in (folder / "outputs" / "train").iterdir() if path.is_dir())
    wrong = [
        *_unless(statuses == [0, 0], f"statuses {statuses}"),
        *_unless(len(names) == 1, f"they measured other weights: {names}"),
        *_unless(not (run_dir / "earlier").exists(), "they were trained twice"),
    ]
    told = _unless("is finished; resume=never starts it anew" in said, "the second did not say that they were there")
    return Verdict(not wrong, not told, "\n".join([*wrong, *told, *([said] if wrong or told else [])]))


def _damaged(folder: Path) -> Verdict:
    first = Command(_sweep(), folder)
    first.end()
    done = _finished(folder)
    table = folder / CELLS / sorted(done)[0] / "results.csv"
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    again = _again(folder)
    said = again.said + again.log.with_name(f"out-{again.log.name}").read_text("utf-8")
    told = _unless(str(table) in said, "it did not name the table that is damaged")
    del done[table.parent.name]
    return _verdict(folder, done, again, told)


def _sweep(*overrides: str, models: tuple[str, ...] = MODELS) -> list[str]:
    """Return the command line of a sweep over models."""
    return [sys.executable, str(ROOT / "probe.py"), "-m", *PROBE, f"model={','.join(models)}", *overrides]


def _again(folder: Path) -> Command:
    sweep = Command(_sweep(), folder)
    sweep.end()
    return sweep


def _finished(folder: Path) -> dict[str, int]:
    """Return the finished cells with the time each was made."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / CELLS).glob("[!.]*")}


def _tables(folder: Path) -> dict[str, bytes]:
    """Return the tables of finished cells."""
    return {name: (folder / CELLS / name / "results.csv").read_bytes() for name in _finished(folder)}


def _half(folder: Path) -> list[Path]:
    """Return what stands in the store of cells that are being measured, or were."""
    return [path for path in (folder / CELLS).glob(".*-*") if path.is_dir()]


def _cells_of(sweep: Command) -> list[int]:
    """Return the processes of cells that run."""
    found = []
    for child in descendants(sweep.process.pid):
        if b"vlp.commands.cell" in Path(f"/proc/{child}/cmdline").read_bytes():
            found.append(child)
    return found


def _verdict(folder: Path, done: dict[str, int], last: Command, untold: list[str]) -> Verdict:
    """Return the verdict on a sweep that was gone on with: what was done is untouched, all is as measured alone."""
    alone = folder / "alone"
    alone.mkdir()
    for model in MODELS:
        child = forked_command("probe", [*PROBE, f"model={model}"], alone, folder / "alone.log", Watch())
        if status := child.end():
            raise RuntimeError(f"alone it ended with {status}:\n{(folder / 'alone.log').read_text('utf-8')}")
    after = _finished(folder)
    lost = [
        *_unless(last.process.returncode == 0, f"it could not be gone on with:\n{last.said}"),
        *_unless({name: after.get(name) for name in done} == done, "a finished cell was measured again"),
        *_unless(after.keys() == _finished(alone).keys(), f"cells {sorted(after)}, alone {sorted(_finished(alone))}"),
        *_unless(not _half(folder), "half a cell is left"),
        *_unless(_tables(folder) == _tables(alone), "a cell has another table than measured alone"),
    ]
    return Verdict(not lost, not untold, "\n".join([*lost, *untold]))


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _unless(holds: bool, wrong: str) -> list[str]:
    return [] if holds else [wrong]
