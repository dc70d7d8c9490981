"""Carrying out cases, a few at a time, each in a process and a folder of its own."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path

from tests.faults.case import Case, Verdict

FORK = multiprocessing.get_context("fork")
LIMIT_S = 900
"""A case that takes longer hangs."""

_PR_SET_CHILD_SUBREAPER = 36
_TAIL = 4000
"""Characters of a log that are shown."""


@dataclass(frozen=True)
class Outcome:
    """A case, how it ended and the seconds it took."""

    case: Case
    verdict: Verdict
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, and nothing silently."""
        return self.verdict.survived and self.verdict.told


class Job:
    """A case that is being carried out below ``folder``."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder, self.started = case, folder, time.monotonic()
        folder.mkdir(parents=True)
        self.process: ForkProcess = FORK.Process(target=_carry_out, args=(case, folder))
        self.process.start()

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.started

    def outcome(self) -> Outcome:
        """Return how the case ended; one that gave no verdict is lost, and its detail the end of what it said."""
        self.process.join()
        answer = _answer(self.folder)
        if answer.is_file():
            verdict = Verdict(**json.loads(answer.read_text("utf-8")))
        else:
            said = _log(self.folder).read_text("utf-8", errors="replace")[-_TAIL:]
            verdict = Verdict(False, True, f"no verdict, exit status {self.process.exitcode}:\n{said}")
        return Outcome(self.case, verdict, self.seconds)

    def end(self) -> None:
        """Kill the case with all it has started."""
        for pid in [*descendants(self.process.pid or 0), self.process.pid or 0]:
            _kill(pid)
        self.process.join()


def carry_out(cases: Sequence[Case], folder: Path, at_once: int = 2, limit_s: float = LIMIT_S) -> Iterator[Outcome]:
    """Carry out ``cases``, each in a folder of its own below ``folder``; yield how each ended, as they end."""
    waiting, running = [*enumerate(cases)], list[Job]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                number, case = waiting.pop(0)
                running.append(Job(case, folder / f"{number:04d}-{case.group}"))
            wait([job.process.sentinel for job in running], timeout=1)
            for job in [*running]:
                if job.seconds > limit_s:
                    job.end()
                if not job.process.is_alive():
                    running.remove(job)
                    yield job.outcome()
    finally:
        for job in running:
            job.end()


def descendants(ancestor: int) -> list[int]:
    """Return the processes that ``ancestor`` and its children have started and that have not been waited for."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(
                stat.read_text("utf-8", errors="replace").rpartition(")")[2].split()[1]
            )
        except OSError:  # it has ended in the meantime
            continue
    found = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {ancestor})


def _carry_out(case: Case, folder: Path) -> None:
    """Carry out a case in a process forked for it, and end what it leaves running."""
    # What its children start is its own to end when they are killed.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    redirect(_log(folder))
    place = folder / "work"
    place.mkdir()
    try:
        verdict = case.run(place)
    finally:
        _end_descendants()
    _answer(folder).write_text(json.dumps(asdict(verdict)), "utf-8")


def redirect(log: Path) -> None:
    """Send what this process and its children say into the file ``log``."""
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.stdout = sys.stderr = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8", errors="replace")


def _end_descendants() -> None:
    while running := descendants(os.getpid()):
        for pid in running:
            _kill(pid)
        os.waitpid(-1, 0)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # it ended by itself
        return


def _answer(folder: Path) -> Path:
    return folder / "verdict.json"


def _log(folder: Path) -> Path:
    return folder / "log"
