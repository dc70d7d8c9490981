"""When a spatial predicate holds between two placed entities: the definitions that captions and relations rest on."""

from __future__ import annotations

from typing import NamedTuple

MIN_DISTANCE = 0.12
"""Centres nearer than this (fraction of the image's side) have no direction worth stating."""

MAX_DISTANCE = 0.55
"""Things further apart than this are not related."""

DOMINANCE = 1.25
"""By how much the distance along one axis must exceed the other for a direction to be stated."""

MIN_COVER = 0.08
"""Share of the smaller box that must be covered for one thing to be in front of the other."""


class Placement(NamedTuple):
    """A box (x1, y1, x2, y2) in [0, 1] and its place in the drawing order; the later covers the earlier."""

    x1: float
    y1: float
    x2: float
    y2: float
    depth: int

    @property
    def area(self) -> float:
        """Area as a fraction of the image's."""
        return (self.x2 - self.x1) * (self.y2 - self.y1)


def intersection(a: Placement, b: Placement) -> float:
    """Return the area two boxes share, as a fraction of the image's."""
    width = min(a.x2, b.x2) - max(a.x1, b.x1)
    height = min(a.y2, b.y2) - max(a.y1, b.y1)
    return width * height if width > 0 and height > 0 else 0.0


def cover(a: Placement, b: Placement) -> float:
    """Return the share of the smaller box that the other covers."""
    shared = intersection(a, b)
    return shared / min(a.area, b.area) if shared else 0.0


def is_left_of(a: Placement, b: Placement) -> bool:
    """Whether ``a`` stands clearly to the left of ``b``, and not too far."""
    return _is_before(a.x1 + a.x2, b.x1 + b.x2, a.y1 + a.y2, b.y1 + b.y2)


def is_right_of(a: Placement, b: Placement) -> bool:
    """Whether ``a`` stands clearly to the right of ``b``, and not too far."""
    return is_left_of(b, a)


def is_above(a: Placement, b: Placement) -> bool:
    """Whether ``a`` stands clearly above ``b``, and not too far."""
    return _is_before(a.y1 + a.y2, b.y1 + b.y2, a.x1 + a.x2, b.x1 + b.x2)


def is_below(a: Placement, b: Placement) -> bool:
    """Whether ``a`` stands clearly below ``b``, and not too far."""
    return is_above(b, a)


def is_in_front_of(a: Placement, b: Placement) -> bool:
    """Whether ``a`` is drawn after ``b`` and their boxes overlap visibly."""
    return a.depth > b.depth and cover(a, b) >= MIN_COVER


def is_behind(a: Placement, b: Placement) -> bool:
    """Whether ``a`` is drawn before ``b`` and their boxes overlap visibly."""
    return is_in_front_of(b, a)


def _is_before(a_twice: float, b_twice: float, a_across_twice: float, b_across_twice: float) -> bool:
    """Compare centres, given twice (a box's two ends added), along one axis and across it."""
    along = (b_twice - a_twice) / 2
    return MIN_DISTANCE <= along <= MAX_DISTANCE and along >= DOMINANCE * abs(b_across_twice - a_across_twice) / 2
