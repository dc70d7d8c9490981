"""What figures are made of, as plain data: curves, heat maps and dots. Draws nothing."""

from __future__ import annotations

from dataclasses import dataclass

from vlp.report.measures import Measure

Point = tuple[float, float, float | None, float | None]
"""``(x, y, low, high)`` as shown; ``low`` and ``high`` are None where there is no interval."""


LABEL_WIDTH = 32
"""Letters of a dot's name that are shown."""


@dataclass(frozen=True)
class Line:
    """A curve.

    ``color`` counts in the palette; None is the quiet colour of a trivial baseline. ``share`` in [0, 1] places the
    curve on a ramp instead (one curve a layer). ``dashes`` is matplotlib's word for a line: ``-``, ``--``, ``:``.
    """

    name: str
    points: tuple[Point, ...]
    color: int | None = 0
    share: float | None = None
    dashes: str = "-"


@dataclass(frozen=True)
class LinePanel:
    """Curves over layers or steps; ``lower`` and ``upper`` bound the vertical axis, None leaves it to the data."""

    title: str
    x_title: str
    y_title: str
    lines: tuple[Line, ...]
    lower: float | None
    upper: float | None
    is_by_layer: bool = False


@dataclass(frozen=True)
class HeatPanel:
    """One number a layer and head: ``values[layer][head]``, NaN where there is none."""

    title: str
    value_title: str
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class DotPanel:
    """Single numbers with their intervals, one a row; each dot is a curve of one point."""

    title: str
    x_title: str
    dots: tuple[Line, ...]
    lower: float | None
    upper: float | None


Panel = LinePanel | HeatPanel | DotPanel


@dataclass(frozen=True)
class Figure:
    """Panels that belong together; ``name`` is a file's, without ending, ``caption`` a sentence."""

    name: str
    caption: str
    panels: tuple[Panel, ...]


def axis_range(shown: Measure) -> tuple[float | None, float | None]:
    """Return the bounds that a metric declares, as they are shown; one that can be negative has 0 on its axis alone."""
    if shown.lower is not None and shown.lower < 0:
        return 0.0, 0.0
    lower, upper = (None if end is None else end * shown.scale for end in (shown.lower, shown.upper))
    return lower, upper
