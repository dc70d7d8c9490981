"""Faults of sweeps over a trained probe: besides finished cells, activations that were read stay, to be read no more.

A plug-in of the case notes each shard of activations that is written, holds a cell where it is told to (in the middle
of reading or of fitting), and makes it fail.
"""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.commands.conftest import SMALLEST
from tests.conftest import ROOT
from tests.durable.disks import small_disk
from tests.faults.case import Case, Verdict
from tests.faults.cells import CELLS, finished, half, unless
from tests.faults.commands import Command, status_of
from vlp.durable.locks import locked

GROUP = "trained"
SEEDS = ("0", "1")
PROBE = (
    *("--config-dir", "mine", "callbacks=watched", "prober=watched", "weights=random", *SMALLEST, "dataset.size=12"),
    *("probe.with_length=false", "prober.fitting.max_epochs=2", "cache.dir=kept/${seed}"),
)
"""A cell that takes a second or two once its process has started; each seed's activations in a folder of their own."""
PLACES = ("1-val", "1-fit")
"""Where a sweep is hit in its second cell: when the activations of one split are read, and amid a fit."""
DISK = 1 << 22

WATCHED = '''
import os
import signal
import sys
import time
from pathlib import Path

import pytorch_lightning as pl

from vlp.probes.probers import AttentionProber


def meet(stage):
    """Do what the file ``fault-SEED-STAGE`` says, if there is one."""
    place = f"{os.environ['PL_GLOBAL_SEED']}-{stage}"
    fault = Path(f"fault-{place}")
    word = fault.read_text() if fault.is_file() else ""
    if word == "raise":
        raise ArithmeticError("only here")
    if word == "exit":
        sys.exit(3)
    if word == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "hold":
        Path(f"at-{place}").touch()
    while fault.is_file():
        time.sleep(0.02)


class Watched(pl.Callback):
    def on_test_batch_start(self, trainer, module, batch, batch_idx, dataloader_idx=0):
        meet(batch.chunk.split)

    def on_test_batch_end(self, trainer, module, outputs, batch, batch_idx, dataloader_idx=0):
        with open("read", "a") as file:
            for reading, shards in zip(module.readings, module.todo, strict=True):
                if reading.split == batch.chunk.split and batch.chunk.shard in shards and batch.chunk.is_last:
                    read = (os.environ["PL_GLOBAL_SEED"], reading.condition, reading.split, batch.chunk.shard)
                    print(*read, file=file)


class WatchedProber(AttentionProber):
    def on_train_epoch_start(self):
        super().on_train_epoch_start()
        if self.current_epoch == 1:
            meet("fit")
'''
OPTIONS = {
    "callbacks": "watched:\n  _target_: watched.Watched\n",
    "prober": (
        "defaults: [fitting: default, _self_]\n"
        "_target_: watched.WatchedProber\n_partial_: true\noptimizer: ${optimizer}\n"
    ),
}


def cases(seed: int, count: int | None = None) -> list[Case]:
    """Return the cases; nothing is drawn."""
    ways: dict[str, Callable[[Path], Verdict]] = {
        "two sweeps of the same cells in the same second": _two_sweeps,
        "kill -9 of a sweep that reads activations, then of one that fits": partial(_stopped, signal.SIGKILL, "vcd"),
        "SIGTERM to a sweep that reads activations, then to one that fits": partial(_stopped, signal.SIGTERM, "vrc"),
        "cells that raise, call sys.exit and are killed": _failing,
        "a full disk of activations, then one of cells": _full_disks,
        "kill -9 of a sweep whose activations another waits for": _reader_killed,
    }
    return [Case(GROUP, name, run) for name, run in ways.items()][:count]


def _two_sweeps(folder: Path) -> Verdict:
    _prepare(folder)
    both = [Command(_sweep(), folder) for _ in range(2)]
    statuses = [sweep.end() for sweep in both]
    found = _tables(folder)
    told = [
        *unless(statuses == [0, 0], f"statuses {statuses}: {both[0].said}{both[1].said}"),
        *unless(len(found) == 2, f"{len(found)} tables of 2 sweeps"),
        *unless(len({table.read_bytes() for table in found}) == 1, "their tables differ"),
    ]
    return _verdict(folder, _finished(folder), Command(_sweep(), folder), told)


def _stopped(number: signal.Signals, probe: str, folder: Path) -> Verdict:
    """Stop a sweep at each of `PLACES`, each time going on as it says, or as it was begun where it says nothing."""
    _prepare(folder)
    line, told, done = _sweep(probe=probe), list[str](), dict[Path, tuple[int, int]]()
    for place in PLACES:
        with _fault(folder, place, "hold"):
            sweep = Command(line, folder)
            sweep.wait_until((folder / f"at-{place}").exists)
            done = done or _finished(folder)
            sweep.send(number)
            status = sweep.end()
        if number == signal.SIGKILL:
            continue
        told += [
            *unless(status == status_of(number), f"status {status}, expected {status_of(number)}"),
            *unless(f"stopped by {number.name}: 1 of 2 cells done" in sweep.said, "it did not say what is done"),
            *unless("\n  not done: " in sweep.said and "seed=1" in sweep.said, "it did not say what is not done"),
            *unless(not half(folder), "half a cell is left"),
        ]
        line = shlex.split(sweep.last_line)
    return _verdict(folder, done, Command(line, folder), told, probe=probe, inputs=len(PLACES))


def _failing(folder: Path) -> Verdict:
    """Have three cells of four fail, each in the middle of reading its activations."""
    _prepare(folder)
    ends = {
        "0": ("raise", "only here"),
        "1": ("exit", "its process ended with status 3"),
        "2": ("kill", "its process ended with status -9"),
    }
    seeds = (*ends, "3")
    with contextlib.ExitStack() as faults:
        for seed, (word, _) in ends.items():
            faults.enter_context(_fault(folder, f"{seed}-val", word))
        sweep = Command(_sweep(seeds), folder)
        status = sweep.end()
    told = [
        *_untold(sweep, status, "3 of 4 cells failed:"),
        *(f"not told: {said}" for seed, (_, said) in ends.items() if not _names(sweep, seed, said)),
    ]
    lost = unless(len(finished(folder)) == 1, "the cell that nothing happened to was not measured")
    return _verdict(folder, _finished(folder), Command(_sweep(seeds), folder), told, lost, seeds, inputs=3)


def _full_disks(folder: Path) -> Verdict:
    """Fill the disk of a cell's activations when some are written, then that of cells when all of them are."""
    _prepare(folder)
    kept, cells = folder / "kept" / "0", folder / CELLS
    with small_disk(kept, DISK) as is_mounted, small_disk(cells, DISK):
        if not is_mounted:
            return Verdict(True, True, "no disk may be mounted here", inputs=0)
        first = _sweep_on_full_disk(folder, kept, "0-val")
        done = _finished(folder)
        second = _sweep_on_full_disk(folder, cells, "0-fit")
        told = [*_untold_of_disk(first, kept), *_untold_of_disk(second, cells)]
        lost = unless(len(done) > 0, "the cell that had room was not measured")
        return _verdict(folder, done, Command(_sweep(), folder), told, lost, inputs=2)


def _sweep_on_full_disk(folder: Path, disk: Path, place: str) -> Command:
    """Return a sweep that ended, the disk full from a place in its first cell to the end of that cell."""
    ballast = disk / "ballast"
    with _fault(folder, "1-train", "hold"):
        with _fault(folder, place, "hold"):
            sweep = Command(_sweep(), folder)
            sweep.wait_until((folder / f"at-{place}").exists)
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        sweep.wait_until(lambda: "cell 1 of 2 failed" in sweep.said)
        ballast.unlink()
    sweep.end()
    return sweep


def _reader_killed(folder: Path) -> Verdict:
    """Kill the sweep that reads what another, over another question, waits for: that one reads the rest alone."""
    _prepare(folder)
    seeds = ("0",)
    with _fault(folder, "0-val", "hold"):
        reader = Command(_sweep(seeds), folder)
        reader.wait_until((folder / "at-0-val").exists)
        waiting = Command(_sweep(seeds, "vcc"), folder)
        waiting.wait_until(lambda: "another process reads" in waiting.said)
        reader.process.kill()
        reader.end()
    waiting.end()
    wrong = [
        *unless(waiting.process.returncode == 0, f"the one that waited failed:\n{waiting.said}"),
        *unless(_table(folder) == _undisturbed(folder, seeds, "vcc"), "the one that waited has another table"),
    ]
    return _verdict(folder, _finished(folder), Command(_sweep(seeds), folder), [], wrong, seeds)


def _prepare(folder: Path) -> None:
    """Write the configuration folder that `PROBE` names."""
    for group, option in OPTIONS.items():
        (folder / "mine" / group).mkdir(parents=True)
        (folder / "mine" / group / "watched.yaml").write_text(option, "utf-8")
    (folder / "mine" / "watched.py").write_text(WATCHED, "utf-8")


def _sweep(seeds: tuple[str, ...] = SEEDS, probe: str = "vcd") -> list[str]:
    """Return the command line of a sweep over seeds."""
    return [sys.executable, str(ROOT / "probe.py"), "-m", f"probe={probe}", *PROBE, f"seed={','.join(seeds)}"]


@contextlib.contextmanager
def _fault(folder: Path, place: str, word: str) -> Iterator[None]:
    """Have cells meet a fault at a place inside the block; those that are held there go on after it."""
    fault = folder / f"fault-{place}"
    fault.write_text(word, "utf-8")
    try:
        yield
    finally:
        fault.unlink()
        (folder / f"at-{place}").unlink(missing_ok=True)


def _finished(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the files of finished cells, which file each is and when it was written."""
    files = [file for cell in finished(folder) for file in (folder / CELLS / cell).rglob("*") if file.is_file()]
    return {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def _tables(folder: Path) -> list[Path]:
    """Return the tables of sweeps, the latest last."""
    return sorted((folder / "outputs" / "sweeps").glob("*/results.csv"))


def _table(folder: Path) -> str:
    return _tables(folder)[-1].read_text("utf-8")


def _read(folder: Path, seeds: tuple[str, ...]) -> list[str]:
    """Return a line for each time that a shard of activations was read with one of ``seeds``."""
    lines = (folder / "read").read_text("utf-8").splitlines()
    return sorted(line for line in lines if line.split()[0] in seeds)


def _untold(sweep: Command, status: int, error: str) -> list[str]:
    return [
        *unless(status == 1, f"status {status}, expected 1"),
        *unless(f"error: {error}" in sweep.said, f"it did not say {error!r}:\n{sweep.said}"),
    ]


def _untold_of_disk(sweep: Command, disk: Path) -> list[str]:
    named = _names(sweep, "0", f"{disk}/") and _names(sweep, "0", f"disk {disk}, 0 bytes free")
    return [
        *_untold(sweep, sweep.end(), "1 of 2 cells failed:"),
        *unless(named, f"it did not name the full disk {disk}:\n{sweep.said}"),
    ]


def _names(sweep: Command, seed: str, said: str) -> bool:
    """Whether a line of what failed names the seed's cell and says what happened."""
    failed = sweep.said.rpartition("cells failed:")[2].splitlines()
    return any(f"seed={seed}: " in line and said in line for line in failed)


def _verdict(
    folder: Path,
    done: dict[Path, tuple[int, int]],
    last: Command,
    untold: list[str],
    wrong: list[str] | None = None,
    seeds: tuple[str, ...] = SEEDS,
    probe: str = "vcd",
    inputs: int = 1,
) -> Verdict:
    """Return the verdict on a sweep that was gone on with: nothing done is done again, all is as undisturbed."""
    last.end()
    expected = _undisturbed(folder, seeds, probe)
    after = _finished(folder)
    lost = [
        *(wrong or []),
        *unless(last.process.returncode == 0, f"it could not be gone on with:\n{last.said}"),
        *unless(bool(done), "no cell was finished before"),
        *unless({file: after.get(file) for file in done} == done, "a finished cell was measured again"),
        *unless(_table(folder) == expected, "the table is another than that of an undisturbed sweep"),
        *unless(_read(folder, seeds) == _read(_reference(folder, probe), seeds), f"read: {_read(folder, seeds)}"),
        *unless(not half(folder), "half a cell is left"),
    ]
    return Verdict(not lost, not untold, "\n".join([*lost, *untold]), inputs)


def _undisturbed(folder: Path, seeds: tuple[str, ...], probe: str = "vcd") -> str:
    """Return the table of a sweep that nothing happens to, run beside ``folder`` in one folder for all cases.

    Raises:
        RuntimeError: if it fails.
    """
    reference = _reference(folder, probe)
    with locked(reference.with_suffix(".lock"), f"another case uses {reference}; waiting for it"):
        if not reference.is_dir():
            _prepare(reference)
        whole = Command(_sweep(seeds, probe), reference)
        if whole.end() != 0:
            raise RuntimeError(f"the reference failed:\n{whole.said}")
        return _table(reference)


def _reference(folder: Path, probe: str) -> Path:
    return folder.parents[1] / f"reference-{GROUP}-{probe}"
