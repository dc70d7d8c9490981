"""Verdicts on claims: agrees, disagrees, or not testable here; never without intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How measured numbers stand to a claim."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    NOT_TESTABLE = "not testable here"


@dataclass(frozen=True)
class Part:
    """One comparison that a claim rests on.

    Args:
        what: which number, in words.
        found: the number with its interval, beside what it is compared with.
        verdict: how it stands to the claim.
        reason: why, in a clause.
        is_measured: False for a printed number beside which nothing of ours stands.
    """

    what: str
    found: str
    verdict: Verdict
    reason: str
    is_measured: bool = True

    @classmethod
    def unmeasured(cls, what: str) -> Part:
        """Return a comparison for which there are no rows."""
        return cls(what, "–", Verdict.NOT_TESTABLE, "not measured", is_measured=False)


def at_least(low: float, high: float, bound: float) -> Verdict:
    """Judge that a number is ``bound`` or more by its interval; an interval that holds the bound decides nothing."""
    return _decided(low >= bound, high < bound)


def at_most(low: float, high: float, bound: float) -> Verdict:
    """Judge that a number is ``bound`` or less by its interval."""
    return _decided(high <= bound, low > bound)


def of_side(parts: Sequence[Part]) -> Verdict:
    """Return the verdict on one side of a claim: of the parts that decide anything, all have to agree."""
    decided = [part.verdict for part in parts if part.verdict is not Verdict.NOT_TESTABLE]
    if not decided:
        return Verdict.NOT_TESTABLE
    return Verdict.DISAGREES if Verdict.DISAGREES in decided else Verdict.AGREES


def of_claim(sides: Sequence[Sequence[Part]]) -> Verdict:
    """Return the verdict on a claim: one side that disagrees refutes it, and it takes all sides to agree.

    None is given where a side was not measured at all.
    """
    if not all(map(is_measured, sides)):
        return Verdict.NOT_TESTABLE
    verdicts = [of_side(parts) for parts in sides]
    if Verdict.DISAGREES in verdicts:
        return Verdict.DISAGREES
    return Verdict.AGREES if verdicts and set(verdicts) == {Verdict.AGREES} else Verdict.NOT_TESTABLE


def is_measured(parts: Sequence[Part]) -> bool:
    """Whether there is a number of ours on one side of a claim."""
    return any(part.is_measured for part in parts)


def _decided(holds: bool, fails: bool) -> Verdict:
    return Verdict.AGREES if holds else Verdict.DISAGREES if fails else Verdict.NOT_TESTABLE
