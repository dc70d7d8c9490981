"""One fault and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

GROUPS = ("kills", "signals", "storage", "sweeps", "ranks", "hostile", "fuzz")
"""The modules of this folder that hold cases, in the order of the table.

Each has ``cases(seed: int, count: int | None = None) -> list[Case]``; ``count`` asks for that many, of every kind where
it can. The same seed gives the same cases.
"""


@dataclass(frozen=True)
class Verdict:
    """How a case ended.

    Args:
        survived: nothing that was computed is lost or wrong.
        told: the fault was named where a user sees it, or there was nothing to tell.
        detail: what happened, for the one who looks into a case that failed.
        inputs: faults that the case tried: kills, fuzzed inputs.
    """

    survived: bool
    told: bool
    detail: str = ""
    inputs: int = 1


@dataclass(frozen=True)
class Case:
    """One fault, or a sequence of them put to one run.

    Args:
        group: one of `GROUPS`.
        name: what is done, in words; unique within its group.
        run: does it in the empty folder it is given, within minutes. What it starts, it ends. It is called in a process
            forked for it, so that it may change the process's state as it likes.
    """

    group: str
    name: str
    run: Callable[[Path], Verdict]
