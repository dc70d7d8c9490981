"""Which result rows make which figure: curves where layers vary, heat maps where heads do, dots elsewhere."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from vlp.report.comparing import (
    CONDITION_TITLES,
    EXACT,
    MODEL,
    Measurement,
    condition_title,
    conditions_of,
    measurements,
    place_name,
    short_names,
)
from vlp.report.measures import Measure, measure
from vlp.report.panels import LABEL_WIDTH, DotPanel, Figure, HeatPanel, Line, LinePanel, Panel, Point, axis_range
from vlp.report.wording import MAIN_CONTROL
from vlp.results import Record, Subject

MAX_DOTS = 90
"""Dots of one figure; a metric with more (a row a class) is read from its table."""

TABLE_ONLY = frozenset({"p_value", "recall"})
"""Metrics that are read from their table: of a row a class, and what a picture shows badly."""


DASHES = {"chance": ":", "majority": "--", "uniform": "-."}
"""How the lines of controls known without sampling tell each other apart; they share the quiet colour."""


def result_figures(records: Iterable[Record]) -> list[Figure]:
    """Return the figures of result rows, each with at least one panel."""
    groups: dict[tuple[str, ...], list[Measurement]] = {}
    for found in measurements(records):
        if found.quantity.metric not in TABLE_ONLY and not _is_other_gain(found):
            groups.setdefault(_figure_key(found), []).append(found)
    figures = [_figure(key, found) for key, found in groups.items()]
    return [figure for figure in figures if figure.panels]


def _is_other_gain(found: Measurement) -> bool:
    """Whether ``found`` is a paired difference over another control than the main one: drawn, it would hide that."""
    return found.quantity.metric == "accuracy_gain" and found.quantity.parameter != f"over={MAIN_CONTROL}"


def _figure_key(found: Measurement) -> tuple[str, ...]:
    quantity, kind = found.quantity, _kind(found)
    details = (quantity.label, quantity.parameter) if kind != "values" else ()
    return (found.subject.probe, quantity.metric, *details, kind)


def _kind(found: Measurement) -> str:
    if found.place.head is not None and found.place.layer is not None:
        return "heads"
    return "layers" if found.place.layer is not None else "values"


def _figure(key: tuple[str, ...], found: Sequence[Measurement]) -> Figure:
    shown = measure(key[1])
    details = [part for part in key[2:-1] if part]
    select, manner = _KINDS[key[-1]]
    probers = [f"{name} prober" for name in dict.fromkeys(each.subject.prober for each in found) if name]
    caption = f"{', '.join([shown.title, *details])} ({', '.join([f'probe {key[0]}', *probers])}) "
    caption += manner.format(intervals=_intervals(found)) + "."
    return Figure("-".join(_slug(part) for part in key if part), caption, tuple(select(found, shown)))


def _layer_panels(found: Sequence[Measurement], shown: Measure) -> list[LinePanel]:
    """Return a panel a stream and subject; seeds of one subject stand in one panel."""
    names = short_names(_seedless(each.subject) for each in found)
    panels: dict[str, list[Measurement]] = {}
    for each in found:
        title = _titled(names[_seedless(each.subject)], place_name(each.place._replace(layer=None)))
        panels.setdefault(title, []).append(each)
    lower, upper = axis_range(shown)
    return [
        LinePanel(title, "layer", shown.axis_title, tuple(_layer_lines(group, shown)), lower, upper, is_by_layer=True)
        for title, group in panels.items()
    ]


def _layer_lines(found: Sequence[Measurement], shown: Measure) -> list[Line]:
    by_subject: dict[Subject, list[Measurement]] = {}
    for each in sorted(found, key=lambda each: each.place.layer or 0):
        by_subject.setdefault(each.subject, []).append(each)
    return [
        Line(condition_title(condition), _points(measured, condition, shown), color, dashes=DASHES.get(condition, "-"))
        for group in by_subject.values()
        for condition, color in _colors(conditions_of(found)).items()
        if (measured := [each for each in group if condition in each.by_condition])
    ]


def _points(found: Sequence[Measurement], condition: str, shown: Measure) -> tuple[Point, ...]:
    return tuple((float(each.place.layer or 0), *_scaled(each.by_condition[condition], shown)) for each in found)


def _scaled(record: Record, shown: Measure) -> tuple[float, float | None, float | None]:
    low, high = (None if end is None else end * shown.scale for end in (record.ci_low, record.ci_high))
    return record.value * shown.scale, low, high


def _colors(conditions: Sequence[str]) -> dict[str, int | None]:
    """Return each condition's place in the palette: 0 for the model alone, known controls the same in every figure."""
    known = [name for name in CONDITION_TITLES if name != MODEL and name not in EXACT]
    own = [name for name in conditions if name not in CONDITION_TITLES]
    others = {name: 1 + place for place, name in enumerate([*known, *own] if MODEL in conditions else own)}
    return {name: None if name in EXACT else others.get(name, 0) for name in conditions}


def _heat_panels(found: Sequence[Measurement], shown: Measure) -> list[HeatPanel]:
    """Return a panel a subject and stream, of the model's own numbers (of each condition where a probe has none)."""
    names = short_names(each.subject for each in found)
    grids: dict[str, dict[tuple[int, int], float]] = {}
    for each in found:
        for condition in [MODEL] if each.model is not None else conditions_of([each]):
            where = place_name(each.place._replace(layer=None, head=None))
            title = _titled(names[each.subject], where, "" if condition == MODEL else condition_title(condition))
            place = (each.place.layer or 0, each.place.head or 0)
            grids.setdefault(title, {})[place] = each.by_condition[condition].value * shown.scale
    lower, upper = axis_range(shown)
    return [_heat_panel(title, grid, shown.axis_title, lower, upper) for title, grid in grids.items()]


def _heat_panel(
    title: str, grid: Mapping[tuple[int, int], float], value_title: str, lower: float | None, upper: float | None
) -> HeatPanel:
    layers = tuple(sorted({layer for layer, _ in grid}))
    heads = tuple(sorted({head for _, head in grid}))
    values = tuple(tuple(grid.get((layer, head), math.nan) for head in heads) for layer in layers)
    return HeatPanel(title, value_title, layers, heads, values, lower, upper)


def _dot_panels(found: Sequence[Measurement], shown: Measure) -> list[DotPanel]:
    """Return a panel a quantity, one dot a subject and condition; none for a metric with very many quantities.

    Where a dot's name would be too long with its subject in it, each subject has a panel of its own.
    """
    names = short_names(each.subject for each in found) if len({each.subject for each in found}) > 1 else {}
    colors = _colors(conditions_of(found))
    dots = [
        (each, _titled(place_name(each.place), condition_title(name)), name)
        for each in found
        for name in each.by_condition
    ]
    fits = all(len(_titled(names.get(each.subject, ""), name)) <= LABEL_WIDTH for each, name, _ in dots)
    by_title: dict[str, list[Line]] = {}
    for each, name, condition in dots:
        quantity = [shown.title, each.quantity.label.replace("_", " "), each.quantity.parameter]
        subject = names.get(each.subject, "")
        title, whole = (subject, name) if not fits else ("", _titled(subject, name))
        point = (0.0, *_scaled(each.by_condition[condition], shown))
        by_title.setdefault(_titled(", ".join(filter(None, quantity)), title), []).append(
            Line(whole, (point,), colors[condition])
        )
    lower, upper = axis_range(shown)
    panels = [DotPanel(title, shown.axis_title, tuple(lines), lower, upper) for title, lines in by_title.items()]
    return panels if len(dots) <= MAX_DOTS else []


_KINDS: dict[str, tuple[Callable[[Sequence[Measurement], Measure], Sequence[Panel]], str]] = {
    "heads": (_heat_panels, "of every head"),
    "layers": (_layer_panels, "layer by layer{intervals}; 0 is the embedding output"),
    "values": (_dot_panels, "as single numbers{intervals}"),
}
"""How each kind of figure picks its panels, and how its caption says so."""


def _intervals(found: Sequence[Measurement]) -> str:
    """Return what a caption says of intervals: whether all numbers have one, some, or none."""
    has_one = [
        record.ci_low is not None for each in found for name, record in each.by_condition.items() if name not in EXACT
    ]
    if not any(has_one):
        return ""
    return ", with 95% intervals" if all(has_one) else ", with 95% intervals where there are some"


def _seedless(subject: Subject) -> Subject:
    return replace(subject, seed=0)


def _titled(*parts: str) -> str:
    return " · ".join(filter(None, parts))


def _slug(text: str) -> str:
    """Return ``text`` as part of a file name: no blank, ``=`` or ``,``."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("_.") or "x"
