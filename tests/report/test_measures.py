import math

import pytest

from vlp.metrics import NormalizedMutualInformation
from vlp.report.measures import measure


@pytest.mark.parametrize(
    ("metric", "value", "shown"),
    [
        ("accuracy", 0.9214, "92.1%"),
        ("accuracy", 0.92149, "92.1%"),
        ("balanced_accuracy", 0.92151, "92.2%"),
        ("nmi", 0.21449, "0.214"),
        ("bits", 0.786, "0.79\u00a0bits"),
        ("bits", -0.786, "\u22120.79\u00a0bits"),
        ("bits", -0.0004, "0.00\u00a0bits"),
        ("selectivity", -0.25, "\u221225.0%"),
        ("accuracy_gain", 0.31, "31.0\u00a0points"),
        ("never_seen", 0.5, "0.500"),
        ("accuracy", math.nan, "–"),
    ],
)
def test_values_are_rounded_and_have_their_unit(metric: str, value: float, shown: str):
    assert measure(metric).value(value) == shown


def test_intervals_stand_in_brackets_in_the_unit_of_their_value():
    assert measure("accuracy").interval(0.9049, 0.9379) == "[90.5, 93.8]"
    assert measure("bits").interval(-0.056, 0.064) == "[\u22120.06, 0.06]"


@pytest.mark.parametrize("ends", [(None, None), (0.1, None), (math.nan, math.nan)])
def test_half_an_interval_is_not_shown(ends: tuple[float | None, float | None]):
    assert measure("nmi").interval(*ends) == ""


def test_range_and_direction_are_those_that_the_metric_declares():
    shown = measure("nmi")
    declared = NormalizedMutualInformation
    assert (shown.lower, shown.upper) == (declared.plot_lower_bound, declared.plot_upper_bound)
    assert (shown.unit, shown.higher_is_better) == (declared.unit, declared.higher_is_better)


def test_an_unknown_metric_is_a_plain_fraction_with_a_readable_title():
    shown = measure("grounding_recall")
    assert (shown.axis_title, shown.lower, shown.upper, shown.is_percent) == ("Grounding recall", 0.0, 1.0, False)
