"""The short part of the fuzzed inputs: the same few of each family every time."""

from __future__ import annotations

from functools import partial

import pytest

from tests.faults.case import Case
from tests.faults.fuzz import FAMILIES, fuzz
from tests.faults.harness import carry_out

NUMBER = 50


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    cases = [Case("fuzz", family, partial(fuzz, family, 0, number=NUMBER)) for family in FAMILIES]
    return {outcome.case.name: outcome for outcome in carry_out(cases, tmp_path_factory.mktemp("fuzz"))}


@pytest.mark.parametrize("family", FAMILIES)
def test_damage_gives_a_result_or_an_error_that_names_it(family, outcomes):
    verdict = outcomes[family].verdict
    assert (verdict.survived, verdict.told) == (True, True), verdict.detail
    assert verdict.inputs >= NUMBER // 2


def test_three_thousand_inputs_are_tried_in_all():
    assert sum(number for _, number in FAMILIES.values()) >= 3000
