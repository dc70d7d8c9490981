"""What was measured beside what was aimed for, and the table of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.timing import Ratio


@dataclass(frozen=True)
class Goal:
    """One figure and its limit.

    Args:
        name: what was measured, relative to what.
        value: the figure; NaN where it could not be measured.
        limit: what is aimed for; None where nothing is.
        at_least: whether the figure should reach the limit rather than stay below it.
        best: the figure between the best rounds, for timings.
        is_disturbed: whether another job's noise makes it say little.
        note: why it was not measured, or what to know about it.
    """

    name: str
    value: float
    limit: float | None = None
    at_least: bool = False
    best: float | None = None
    is_disturbed: bool = False
    note: str = ""

    @classmethod
    def of_ratio(cls, name: str, ratio: Ratio, limit: float, note: str = "") -> Goal:
        """Return the goal that a cost stays below ``limit`` times the peer's."""
        return cls(name, ratio.median, limit, best=ratio.best, is_disturbed=ratio.is_disturbed, note=note)

    @property
    def is_met(self) -> bool:
        """Whether the figure keeps to its limit, if it has one."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def verdict(self) -> str:
        """Return ``pass``, ``FAIL``, ``measured`` (no limit) or ``not measured``, and whether the run was disturbed."""
        if math.isnan(self.value):
            return "not measured"
        if self.limit is None:
            return "measured"
        return ("pass" if self.is_met else "FAIL") + (", disturbed" if self.is_disturbed else "")


def table(goals: Iterable[Goal]) -> str:
    """Return one line a goal."""
    goals = list(goals)
    width = max([len(goal.name) for goal in goals] + [4])
    lines = [f"{'what':<{width}}  {'median':>8}  {'best':>8}  {'goal':>9}  verdict"]
    for goal in goals:
        limit = "" if goal.limit is None else f"{'>=' if goal.at_least else '<='} {goal.limit:g}"
        best = "" if goal.best is None else f"{goal.best:.3f}"
        note = f" ({goal.note})" if goal.note else ""
        lines.append(f"{goal.name:<{width}}  {goal.value:>8.3f}  {best:>8}  {limit:>9}  {goal.verdict}{note}")
    return "\n".join(lines)
