"""Verdicts from intervals."""

import pytest

from vlp.published import Part, Verdict
from vlp.published.verdicts import at_least, at_most, of_claim, of_side

AGREES, DISAGREES, OPEN = Verdict


def parts(*verdicts: Verdict) -> list[Part]:
    return [Part("a number", "0.5", verdict, "because") for verdict in verdicts]


@pytest.mark.parametrize(
    ("low", "high", "least", "most"),
    [(0.6, 0.7, AGREES, DISAGREES), (0.3, 0.4, DISAGREES, AGREES), (0.4, 0.6, OPEN, OPEN), (0.5, 0.6, AGREES, OPEN)],
)
def test_only_an_interval_clear_of_the_bound_decides(low: float, high: float, least: Verdict, most: Verdict):
    assert at_least(low, high, 0.5) is least
    assert at_most(low, high, 0.5) is most


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ((), OPEN),
        ((OPEN, OPEN), OPEN),
        ((OPEN, AGREES), AGREES),
        ((AGREES, DISAGREES, OPEN), DISAGREES),
    ],
)
def test_what_decides_nothing_does_not_count(given: tuple[Verdict, ...], verdict: Verdict):
    assert of_side(parts(*given)) is verdict


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (AGREES, AGREES, AGREES),
        (AGREES, OPEN, OPEN),
        (AGREES, DISAGREES, DISAGREES),
        (OPEN, DISAGREES, DISAGREES),
        (OPEN, OPEN, OPEN),
    ],
)
def test_a_claim_takes_all_its_sides_to_agree_and_one_to_disagree(first: Verdict, second: Verdict, verdict: Verdict):
    assert of_claim([parts(first), parts(second)]) is verdict


@pytest.mark.parametrize("measured", [AGREES, DISAGREES])
def test_a_side_without_a_number_leaves_the_claim_open_whatever_the_others_say(measured: Verdict):
    assert of_claim([parts(measured), [Part.unmeasured("a number"), Part.unmeasured("another")]]) is OPEN


def test_a_claim_without_sides_is_not_testable():
    assert of_claim([]) is OPEN
