"""One fault and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


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

    Each module of this folder that has ``cases(seed: int, count: int | None = None) -> list[Case]`` is a group of them.
    The same seed gives the same cases; with a ``count``, as many at most, of as many kinds as that allows.

    Args:
        group: the name of its module: kills, signals, storage, sweeps, trained, nlvr, ranks, hostile or fuzz.
        name: what is done, in words; unique within its group.
        run: does it, in the empty folder it is given and within minutes. It is called in a process that is forked for
            it and that ends, with all it has started, when it returns.
    """

    group: str
    name: str
    run: Callable[[Path], Verdict]
