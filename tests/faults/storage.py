"""Disks that are full, broken or read-only, and files that are cut short, flipped or half gone.

Each case has real, small checkpoints or a cell, puts the fault to them, and then checks that what was good is good to
the bit, that the newest good checkpoint is found, and that what was said names the file (and the disk, of a full one).
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from tests.checkpointing.states import holds, state, written
from tests.durable.disks import (
    broken,
    cut,
    failing,
    faulty_disk,
    flip,
    full,
    make_read_only,
    own_folder,
    read_only,
    small_disk,
    unreadable,
)
from tests.faults.case import Case, Verdict
from tests.results.examples import ROW, table
from vlp.checkpointing.generations import Generations
from vlp.checkpointing.writer import CheckpointWriter
from vlp.durable.digests import DamagedError, sidecar
from vlp.durable.files import StorageError
from vlp.results import CellStore, read_results

GROUP = "storage"
DISK, PAGE = 1 << 20, 4096
EARLIER, LATER = (50, 100), 150
CELL = "0123456789ab"

Fault = Callable[[Path, random.Random], Verdict]


def cases(seed: int, count: int | None = None) -> list[Case]:
    """Return 60 faults, or ``count`` of them, of every kind where that is enough."""
    most = max(times for _, times in KINDS.values())
    drawn = [(name, number) for number in range(most) for name, (_, times) in KINDS.items() if number < times]
    return [Case(GROUP, f"{name}, {number + 1}", partial(_run, name, number, seed)) for name, number in drawn[:count]]


def _run(name: str, number: int, seed: int, folder: Path) -> Verdict:
    return KINDS[name][0](folder, random.Random(f"{seed} {name} {number}"))


# A disk fails while a checkpoint is written.


def full_disk(folder: Path, draw: random.Random, on_error: str = "stop") -> Verdict:
    """Fill a real disk, where one may be mounted, up to a part of the next checkpoint."""
    with small_disk(folder / "disk", DISK) as is_mounted:
        generations = written(folder / "disk" / "checkpoints", *EARLIER)
        room = draw.randrange(generations.path(100).stat().st_size)
        with _filled(folder / "disk", room) if is_mounted else faulty_disk(generations.folder, room, full):
            said = _save(generations, on_error)
        disk = folder / "disk" if is_mounted else ""
        return _saved(generations, said, f"{generations.path(LATER)} cannot be written", "(ENOSPC)", f"disk {disk}")


@contextlib.contextmanager
def _filled(disk: Path, room: int) -> Iterator[None]:
    """Leave ``room`` bytes, in whole pages, on a disk."""
    free = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - room // PAGE * PAGE))
    yield
    ballast.unlink()


def failing_write(folder: Path, draw: random.Random, fault: Callable[[], NoReturn], word: str) -> Verdict:
    """Have the disk fail at some byte."""
    generations = written(folder, *EARLIER)
    with faulty_disk(folder, draw.randrange(generations.path(100).stat().st_size), fault):
        said = _save(generations, draw.choice(["stop", "continue"]))
    return _saved(generations, said, f"{generations.path(LATER)} cannot be written", f"({word})", "disk /")


def failing_call(folder: Path, draw: random.Random, name: str, calls: int) -> Verdict:
    """Have the disk fail when bytes or names are made durable: those of the sidecar, or those of the checkpoint."""
    generations = written(folder, *EARLIER)
    with failing(name, broken, after=draw.randrange(calls)):
        said = _save(generations, draw.choice(["stop", "continue"]))
    return _saved(generations, said, str(generations.path(LATER)), "(EIO)", "disk /")


def failing_overwrite(folder: Path, draw: random.Random) -> Verdict:
    """Have the disk fail while a checkpoint is written again."""
    generations = written(folder, *EARLIER)
    with faulty_disk(folder, draw.randrange(generations.path(100).stat().st_size), full):
        said = _save(generations, "stop", step=100, content=LATER)
    return _saved(generations, said, f"{generations.path(100)} cannot be written", "(ENOSPC)", "disk /")


def read_only_folder(_: Path, draw: random.Random) -> Verdict:
    """Forbid writing where checkpoints are."""
    with own_folder() as folder:
        generations = written(folder, *EARLIER)
        with read_only(folder):
            said = _save(generations, draw.choice(["stop", "continue"]))
        return _saved(generations, said, f"{generations.path(LATER)} cannot be written", "(EACCES)")


def read_only_disk(folder: Path, draw: random.Random) -> Verdict:
    """Have the kernel make a real disk read-only, as it does after errors, where one may be mounted."""
    with small_disk(folder / "disk", DISK) as is_mounted:
        if not is_mounted:
            return read_only_folder(folder, draw)
        generations = written(folder / "disk", *EARLIER)
        make_read_only(folder / "disk")
        said = _save(generations, draw.choice(["stop", "continue"]))
        named = (f"{generations.path(LATER)} cannot be written", "(EROFS)", f"disk {folder / 'disk'}")
        return _found(generations, EARLIER, said, *named)


def _save(generations: Generations, on_error: str, step: int = LATER, content: int = LATER) -> str:
    """Save the state of step ``content`` as that of ``step``, and return what is said of it."""
    with _listening() as said:
        try:
            CheckpointWriter(on_error).save_checkpoint(state(content), generations.path(step))
        except StorageError as error:
            said.append(str(error))
    return "\n".join(said)


def _saved(generations: Generations, said: str, *named: str) -> Verdict:
    """Return the verdict on a save that failed; the next one has to succeed."""
    good = [*EARLIER, *([LATER] if generations.path(LATER).exists() else [])]
    verdict = _found(generations, good, said, *named)
    is_silent_again = _save(generations, "stop") == ""
    after = _found(generations, [*EARLIER, LATER], "")
    return Verdict(verdict.survived and after.survived and is_silent_again, verdict.told, verdict.detail)


# A file is damaged afterwards.


def cut_short(folder: Path, draw: random.Random, has_sidecar: bool = True) -> Verdict:
    """Cut the newest checkpoint at some byte."""
    generations, newest = _sidecar_or_not(folder, has_sidecar)
    cut(newest, draw.randrange(newest.stat().st_size))
    return _damaged(generations, EARLIER, f"{newest} is")


def flipped_bit(folder: Path, draw: random.Random, has_sidecar: bool = True) -> Verdict:
    """Turn a bit of the newest checkpoint; without a sidecar one within its largest part."""
    generations, newest = _sidecar_or_not(folder, has_sidecar)
    size = newest.stat().st_size
    flip(newest, draw.randrange(8 * size) if has_sidecar else _bit_within(newest, draw))
    return _damaged(generations, EARLIER, f"{newest} is")


def _bit_within(checkpoint: Path, draw: random.Random) -> int:
    """Return a bit of a weight of the state."""
    weight = state(LATER)["state_dict"]["0.weight"].numpy().tobytes()
    return 8 * checkpoint.read_bytes().index(weight) + draw.randrange(8 * len(weight))


def _sidecar_or_not(folder: Path, has_sidecar: bool) -> tuple[Generations, Path]:
    generations = written(folder, *EARLIER, LATER)
    if not has_sidecar:
        sidecar(generations.path(LATER)).unlink()
    return generations, generations.path(LATER)


def missing_sidecar(folder: Path, draw: random.Random) -> Verdict:
    """Remove the sidecar of the newest checkpoint, which is good."""
    generations, newest = _sidecar_or_not(folder, has_sidecar=False)
    return _damaged(generations, [*EARLIER, LATER], f"{newest} has no {newest.name}.sha256")


def damaged_sidecar(folder: Path, draw: random.Random) -> Verdict:
    """Turn a bit of the newest checkpoint's sidecar, or cut that short within the digest."""
    generations, newest = _sidecar_or_not(folder, has_sidecar=True)
    bit = draw.randrange(8 * 64)
    if draw.random() < 0.5:
        flip(sidecar(newest), bit & ~7)  # another digit, or none
    else:
        cut(sidecar(newest), bit // 8)
    return _damaged(generations, EARLIER, str(newest))


def unreadable_file(folder: Path, draw: random.Random) -> Verdict:
    """Have the newest checkpoint lie where the disk cannot be read."""
    generations = written(folder, *EARLIER, LATER)
    with unreadable(generations.path(LATER)):
        return _damaged(generations, EARLIER, "Input/output error", str(generations.path(LATER)))


def two_damaged(folder: Path, draw: random.Random) -> Verdict:
    """Damage the two newest checkpoints in different ways."""
    generations = written(folder, *EARLIER, LATER)
    cut(generations.path(LATER), draw.randrange(9000))
    flip(generations.path(100), draw.randrange(8 * 9000))
    return _damaged(generations, [50], f"{generations.path(LATER)} is damaged", f"{generations.path(100)} is damaged")


def all_damaged(folder: Path, draw: random.Random) -> Verdict:
    """Leave no good checkpoint: that is an error, and no fresh start."""
    generations = written(folder, *EARLIER)
    for step in EARLIER:
        flip(generations.path(step), draw.randrange(8 * 9000))
    try:
        found = generations.newest_good()
    except DamagedError as error:
        said = str(error)
        return Verdict(True, all(str(generations.path(step)) in said for step in EARLIER), said)
    return Verdict(False, False, f"found {found}")


def _damaged(generations: Generations, good: Sequence[int], *named: str) -> Verdict:
    with _listening() as said:
        generations.newest_good()
    return _found(generations, good, "\n".join(said), *named)


def _found(generations: Generations, good: Sequence[int], said: str, *named: str) -> Verdict:
    """Return whether the newest good one is found, all of them are theirs to the bit, and ``said`` names ``named``."""
    is_found = generations.newest_good() == generations.path(max(good))
    is_whole = all(holds(generations.path(step), step) for step in good)
    return Verdict(is_found and is_whole, all(name in said for name in named), f"found {is_found}; said: {said}")


# A cell of the store.


def damaged_cell(folder: Path, draw: random.Random, damage: Callable[[Path, int], None], unit: int) -> Verdict:
    """Damage the table of a finished cell: it is measured again."""
    store = CellStore(folder)
    results = _measure(store) / "results.csv"
    damage(results, draw.randrange(unit * results.stat().st_size))
    with _listening() as said:
        is_finished = store.is_finished(CELL)
    survived = not is_finished and read_results(_measure(store) / "results.csv")[0].value == ROW.value
    return Verdict(survived, str(results) in "".join(said), "\n".join(said))


def full_disk_of_cells(folder: Path, draw: random.Random) -> Verdict:
    """Have no room for the table of a cell that is measured again: the one there was stays."""
    store = CellStore(folder)
    _measure(store)
    said = ""
    with faulty_disk(folder, draw.randrange(200), full):
        try:
            _measure(store)
        except StorageError as error:
            said = str(error)
    return Verdict(store.is_finished(CELL), "results.csv cannot be written" in said and "disk /" in said, said)


def _measure(store: CellStore) -> Path:
    with store.writing(CELL) as folder:
        table(folder, ROW)
        (folder / "run.json").write_text("{}")
    return store.path(CELL)


@contextlib.contextmanager
def _listening() -> Iterator[list[str]]:
    """Give the list that what is logged goes to."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("vlp")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


KINDS: dict[str, tuple[Fault, int]] = {
    "a full disk stops the run": (full_disk, 7),
    "a full disk, and the run goes on": (partial(full_disk, on_error="continue"), 3),
    "no room from some byte on": (partial(failing_write, fault=full, word="ENOSPC"), 3),
    "an I/O error at some byte": (partial(failing_write, fault=broken, word="EIO"), 5),
    "an I/O error of fsync": (partial(failing_call, name="fsync", calls=4), 3),
    "an I/O error of the rename": (partial(failing_call, name="replace", calls=2), 2),
    "no room to write a checkpoint again": (failing_overwrite, 2),
    "a folder that is read-only": (read_only_folder, 2),
    "a disk that is read-only": (read_only_disk, 1),
    "a checkpoint cut short": (cut_short, 6),
    "a checkpoint cut short, without its sidecar": (partial(cut_short, has_sidecar=False), 3),
    "a flipped bit": (flipped_bit, 6),
    "a flipped bit of a weight, without the sidecar": (partial(flipped_bit, has_sidecar=False), 3),
    "a missing sidecar": (missing_sidecar, 1),
    "a damaged sidecar": (damaged_sidecar, 3),
    "a checkpoint that cannot be read": (unreadable_file, 1),
    "two damaged checkpoints": (two_damaged, 2),
    "no good checkpoint": (all_damaged, 2),
    "a cell cut short": (partial(damaged_cell, damage=cut, unit=1), 2),
    "a flipped bit in a cell": (partial(damaged_cell, damage=flip, unit=8), 2),
    "no room for a cell": (full_disk_of_cells, 1),
}
"""How a case is made, and how many there are of it: 60."""
