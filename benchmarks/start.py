"""How long it takes until ``probe.py --help`` and ``probe.py --cfg job`` have answered, each a fresh process.

Both answer without torch, which alone takes as long as is aimed for. Seconds are those of the clock, as a user waits;
the note has those of the processor. A start waits for little else, so where the clock's are twice as many, the run was
disturbed.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.goals import Goal
from benchmarks.timing import Ratio

ROOT = Path(__file__).parents[1]
COMMANDS = {"--help": ["--help"], "--cfg job": ["--cfg", "job"]}
ROUNDS = 5
SECONDS = 2.0
MOST_WAITING = 2


def measure(rounds: int | None = None) -> list[Goal]:
    """Return the seconds to an answer."""
    return [_goal(f"seconds of probe.py {name}", command, rounds or ROUNDS) for name, command in COMMANDS.items()]


def _goal(name: str, arguments: list[str], rounds: int) -> Goal:
    times = [answer(arguments) for _ in range(rounds + 1)][1:]  # the first reads files from the disk
    waited, computed = ([time[at] for time in times] for at in (0, 1))
    found, needed = Ratio(statistics.median(waited), min(waited)), statistics.median(computed)
    is_disturbed = found.is_disturbed or found.median > MOST_WAITING * needed
    note = f"{needed:.2f} s of the processor"
    return Goal(name, found.median, SECONDS, best=found.best, is_disturbed=is_disturbed, note=note)


def answer(arguments: list[str]) -> tuple[float, float]:
    """Return the seconds that ``probe.py`` takes on ``arguments``, by the clock and of the processor.

    Raises:
        RuntimeError: if it fails.
    """
    before, start = _processor(), time.perf_counter()
    done = subprocess.run([sys.executable, "probe.py", *arguments], cwd=ROOT, capture_output=True, check=False)
    waited, computed = time.perf_counter() - start, _processor() - before
    if done.returncode:
        raise RuntimeError(f"probe.py {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr.decode()}")
    return waited, computed


def _processor() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
