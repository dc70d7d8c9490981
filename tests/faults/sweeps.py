"""Faults of sweeps: a finished cell stays, one that was hit is measured again, and the sweep says which is which."""

from __future__ import annotations

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
from tests.faults.cells import CELLS, cells_of, finished, half, rows, tables, unless
from tests.faults.commands import Command, go_on, status_of
from tests.faults.nursery import Watch, forked_command

GROUP = "sweeps"
MODELS = ("uniter", "lxmert", "visualbert")
PROBE = ("weights=random", *SMALLEST, "probe.num_restarts=200", "dataset.size=48")
"""A cell that takes a second or two once its process has started."""
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
    sweep.wait_until(lambda: finished(folder) and half(folder))
    sweep.send(number, to_all)
    status = sweep.end()
    done = finished(folder)
    told = [
        *unless(status == status_of(number), f"status {status}, expected {status_of(number)}"),
        *unless(f"stopped by {number.name}: {len(done)} of 3 cells done" in sweep.said, "it did not say what is done"),
        *unless(sweep.said.count("\n  done: ") == len(done), "it did not name each cell that is done"),
        *unless(sweep.said.count("\n  not done: ") == 3 - len(done), "it did not name each cell that is not done"),
        *unless(not half(folder), "half a cell is left"),
    ]
    return _verdict(folder, done, go_on(sweep.last_line, folder), told)


def _parent_killed(folder: Path) -> Verdict:
    sweep = Command(_sweep(), folder)
    sweep.wait_until(lambda: finished(folder) and half(folder))
    sweep.process.kill()
    sweep.end()
    return _verdict(folder, finished(folder), _again(folder), [])


def _cell_killed(folder: Path) -> Verdict:
    sweep = Command(_sweep(), folder)
    sweep.wait_until(lambda: finished(folder) and half(folder))
    os.kill(cells_of(sweep)[0], signal.SIGKILL)
    status = sweep.end()
    done = finished(folder)
    told = [
        *unless(status == 1, f"status {status}, expected 1"),
        *unless("error: 1 of 3 cells failed:" in sweep.said, "it did not say how many cells failed"),
        *unless("model=lxmert: its process ended with status -9" in sweep.said, "it did not say what was killed"),
        *unless(len(done) == 2, f"{len(done)} of the other 2 cells were measured"),
    ]
    return _verdict(folder, done, _again(folder), told)


def _cell_raises(folder: Path) -> Verdict:
    sweep = Command(_sweep(models=("bert", *MODELS)), folder)
    status = sweep.end()
    told = [
        *unless(status == 1, f"status {status}, expected 1"),
        *unless("error: 1 of 4 cells failed:\n  weights=random" in sweep.said, "it did not say how many cells failed"),
        *unless("model=bert: probe nmi cannot be put to model bert" in sweep.said, "it did not say what and why"),
    ]
    return _verdict(folder, finished(folder), _again(folder), told)


def _two_sweeps(folder: Path) -> Verdict:
    both = [Command(_sweep(), folder) for _ in range(2)]
    statuses = [sweep.end() for sweep in both]
    found = sorted((folder / "outputs" / "sweeps").glob("*/results.csv"))
    told = [
        *unless(statuses == [0, 0], f"statuses {statuses}: {both[0].said}{both[1].said}"),
        *unless(len({table.read_bytes() for table in found}) == 1, "their tables differ"),
        *unless(len(found) == 2, f"{len(found)} tables of 2 sweeps"),
    ]
    return _verdict(folder, finished(folder), _again(folder), told)


def _two_recipes(folder: Path) -> Verdict:
    write_recipe(folder)
    wanted = [sys.executable, str(ROOT / "probe.py"), "--config-dir", "mine", *RECIPE]
    both = [Command([*wanted, f"seed={seed}"], folder) for seed in range(2)]
    statuses = [probe.end() for probe in both]
    said = "".join(log.read_text("utf-8") for log in folder.glob("*said-*"))
    names = {row["weights"] for table in finished(folder) for row in rows(folder / CELLS / table / "results.csv")}
    (run_dir,) = (path for path in (folder / "outputs" / "train").iterdir() if path.is_dir())
    wrong = [
        *unless(statuses == [0, 0], f"statuses {statuses}"),
        *unless(len(names) == 1, f"they measured other weights: {names}"),
        *unless(not (run_dir / "earlier").exists(), "they were trained twice"),
    ]
    told = unless("is finished; resume=never starts it anew" in said, "the second did not say that they were there")
    return Verdict(not wrong, not told, "\n".join([*wrong, *told, *([said] if wrong or told else [])]))


def _damaged(folder: Path) -> Verdict:
    first = Command(_sweep(), folder)
    first.end()
    done = finished(folder)
    table = folder / CELLS / sorted(done)[0] / "results.csv"
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    again = _again(folder)
    said = again.said + again.log.with_name(f"out-{again.log.name}").read_text("utf-8")
    told = unless(str(table) in said, "it did not name the table that is damaged")
    del done[table.parent.name]
    return _verdict(folder, done, again, told)


def _sweep(*overrides: str, models: tuple[str, ...] = MODELS) -> list[str]:
    """Return the command line of a sweep over models."""
    return [sys.executable, str(ROOT / "probe.py"), "-m", *PROBE, f"model={','.join(models)}", *overrides]


def _again(folder: Path) -> Command:
    sweep = Command(_sweep(), folder)
    sweep.end()
    return sweep


def _verdict(folder: Path, done: dict[str, int], last: Command, untold: list[str]) -> Verdict:
    """Return the verdict on a sweep that was gone on with: what was done is untouched, all is as measured alone."""
    alone = folder / "alone"
    alone.mkdir()
    for model in MODELS:
        child = forked_command("probe", [*PROBE, f"model={model}"], alone, folder / "alone.log", Watch())
        if status := child.end():
            raise RuntimeError(f"alone it ended with {status}:\n{(folder / 'alone.log').read_text('utf-8')}")
    after = finished(folder)
    lost = [
        *unless(last.process.returncode == 0, f"it could not be gone on with:\n{last.said}"),
        *unless({name: after.get(name) for name in done} == done, "a finished cell was measured again"),
        *unless(after.keys() == finished(alone).keys(), f"cells {sorted(after)}, alone {sorted(finished(alone))}"),
        *unless(not half(folder), "half a cell is left"),
        *unless(tables(folder) == tables(alone), "a cell has another table than measured alone"),
    ]
    return Verdict(not lost, not untold, "\n".join([*lost, *untold]))
