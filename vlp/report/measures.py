"""How a metric is shown: title, unit, range, direction and digits.

Range, unit and direction are what a class of `vlp.metrics` declares for the word it has in results; `WORDS` gives the
title, and the rest where no class of ours computes the metric. A share of items, stored as a fraction, is shown in
percent; this is the only place that converts.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

MISSING = "–"


@dataclass(frozen=True)
class Measure:
    """How one metric is shown.

    Args:
        metric: its word in results.
        title: its name for a reader.
        unit: after the number; empty for a plain one, and for a percentage unless it is one of ``points``.
        lower: smallest value it can have, as stored; None where there is none.
        upper: largest value it can have, as stored; None where there is none.
        higher_is_better: None where neither direction is a merit.
        is_percent: stored fractions are shown times 100.
        digits: after the decimal point, as shown.
    """

    metric: str
    title: str
    unit: str = ""
    lower: float | None = 0.0
    upper: float | None = 1.0
    higher_is_better: bool | None = None
    is_percent: bool = False
    digits: int = 3

    @property
    def shown_unit(self) -> str:
        """Return what stands after the number."""
        return "%" if self.is_percent and not self.unit else self.unit

    @property
    def axis_title(self) -> str:
        """Return the title with its unit."""
        return f"{self.title} ({self.shown_unit})" if self.shown_unit else self.title

    @property
    def scale(self) -> float:
        """Return what a stored value is multiplied by to be shown."""
        return 100.0 if self.is_percent else 1.0

    def number(self, value: float) -> str:
        """Return a stored value rounded for show, without its unit; a dash for NaN."""
        if math.isnan(value):
            return MISSING
        rounded = round(value * self.scale, self.digits) + 0.0  # adding 0 turns -0.0 into 0.0
        return f"{rounded:.{self.digits}f}".replace("-", "\u2212")

    def value(self, value: float) -> str:
        """Return a stored value rounded for show, with its unit."""
        number = self.number(value)
        if number == MISSING or not self.shown_unit:
            return number
        return f"{number}%" if self.shown_unit == "%" else f"{number}\u00a0{self.shown_unit}"

    def interval(self, low: float | None, high: float | None) -> str:
        """Return ``[low, high]`` rounded for show, empty where there is none."""
        if low is None or high is None or math.isnan(low) or math.isnan(high):
            return ""
        return f"[{self.number(low)}, {self.number(high)}]"


def _percent(metric: str, title: str, higher_is_better: bool | None = True, lower: float = 0.0) -> Measure:
    return Measure(metric, title, "", lower, 1.0, higher_is_better, is_percent=True, digits=1)


def _bits(metric: str, title: str) -> Measure:
    return Measure(metric, title, "bits", 0.0, None, higher_is_better=False, digits=2)


WORDS = {
    known.metric: known
    for known in (
        _percent("accuracy", "Accuracy"),
        _percent("balanced_accuracy", "Balanced accuracy"),
        _percent("selectivity", "Selectivity", lower=-1.0),
        Measure("accuracy_gain", "Gain in accuracy", "points", -1.0, 1.0, True, is_percent=True, digits=1),
        _percent("mass", "Attention mass", higher_is_better=None),
        _percent("share", "Share", higher_is_better=None),
        _bits("bits", "Loss"),
        Measure("description_length", "Description length", "bits", 0.0, None, higher_is_better=False, digits=0),
        _percent("recall", "Recall"),
        Measure("p_value", "p value", digits=4),
        Measure("nmi", "NMI"),
        Measure("flow", "Inter-modality flow"),
        Measure("flow_over_uniform", "Flow over uniform", upper=None),
        Measure("flow_change", "Change of flow", lower=-1.0),
        Measure("tokens", "Tokens", upper=None, digits=1),
        Measure("cosine", "Cosine similarity", lower=-1.0),
        Measure("multiply_accumulates", "Multiply-accumulates", upper=None, digits=0),
        Measure("parameters", "Parameters", upper=None, digits=0),
    )
}
"""The words for metrics that results know; any other is shown as a plain fraction unless a class declares it."""


@cache
def measure(metric: str) -> Measure:
    """Return how ``metric`` is shown."""
    shown = WORDS.get(metric) or Measure(metric, metric.replace("_", " ").capitalize())
    for owner in _metric_classes():
        if getattr(owner, "metric", None) == metric:
            return replace(
                shown,
                unit=owner.unit,
                lower=owner.plot_lower_bound,
                upper=owner.plot_upper_bound,
                higher_is_better=owner.higher_is_better,
            )
    return shown


def _metric_classes() -> Iterator[Any]:
    """Yield the public classes of `vlp.metrics`, imported here because they bring torch."""
    metrics = importlib.import_module("vlp.metrics")
    yield from (getattr(metrics, name) for name in metrics.__all__ if isinstance(getattr(metrics, name), type))
