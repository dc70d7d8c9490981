"""Judgements on claims, on made-up rows."""

from dataclasses import replace

import pytest

from tests.published.samples import VALUES, cell, subject, table3
from vlp.published import ARTEFACTS, Judgement, Verdict, artefact_names, claims, judge, papers_with, tables_beside

HIGH_LINK = {"model": 0.88, "random_weights": 0.57}


def v6(records: list) -> Judgement:
    (found,) = [each for each in judge(records, ["value"]) if each.claim.claim_id == "V6"]
    return found


def test_artefacts_are_published_ones_and_test_claims_that_show_in_them():
    by_id = {claim.claim_id: claim for claim in claims()}
    for name, artefact in ARTEFACTS.items():
        assert name == artefact.name
        assert name in artefact_names()
        assert all(name in by_id[claim].artefacts for claim in artefact.claims)


def test_a_run_is_of_the_papers_of_its_experiment_and_of_its_probe():
    assert papers_with("value/table3", "vcd") == papers_with(None, "vcc") == ["value"]
    assert papers_with("grounding/pretrain", None) == ["grounding"]
    assert papers_with("scenes", "nobodys") == papers_with(None, None) == []


def test_every_claim_of_a_paper_has_a_row():
    found = judge(table3(), ["value"])
    assert [each.claim.claim_id for each in found] == [f"V{number}" for number in range(1, 10)]
    assert found[0].verdict is Verdict.NOT_TESTABLE
    assert found[0].reason == "no experiment yet for value/table1"


def test_types_far_above_the_majority_and_links_near_one_half_agree():
    found = v6(table3())
    assert (found.statistic, found.setting.words) == (Verdict.AGREES, "scenes, tiny")
    assert len(found.parts) == 14  # four rows of the single-stream model and three of the other, twice
    assert found.reason.endswith("14 of 14 comparisons measured: 14 agree, none disagrees")


def test_on_the_paper_s_data_the_verdict_is_what_the_numbers_say():
    found = v6(table3(dataset="flickr30k_entities", size="base"))
    assert (found.verdict, found.reason) == (
        Verdict.AGREES,
        "14 of 14 comparisons measured: 14 agree, none disagrees",
    )


@pytest.mark.parametrize(
    ("link", "said"), [(HIGH_LINK, "disagrees"), ({"model": 0.54}, "agrees"), ({"model": 0.6}, "not testable here")]
)
def test_a_generated_world_tests_no_claim_but_says_what_its_numbers_would(link: dict[str, float], said: str):
    found = v6(table3({("vcd", "attention"): link, ("vcd", "embedding"): link}))
    assert (found.verdict, found.statistic.value, len(found.parts)) == (Verdict.NOT_TESTABLE, said, 14)
    assert found.reason.startswith(f"generated data; on scenes: {said}. 14 of 14 comparisons measured: ")


def test_links_that_heads_tell_although_random_weights_do_not_disagree():
    found = v6(table3({("vcd", "attention"): HIGH_LINK}))
    assert found.statistic is Verdict.DISAGREES
    assert found.reason == (
        "generated data; on scenes: disagrees. 14 of 14 comparisons measured: "
        "VCD (SS), 144 Attention Heads: 88.0% [86.0, 90.0]; random weights 57.0% [55.0, 59.0] (above 60%); "
        "VCD (TS), 144 Attention Heads: 88.0% [86.0, 90.0]; random weights 57.0% [55.0, 59.0] (above 60%)"
    )


def test_types_no_better_than_the_majority_disagree():
    found = v6(table3({("vcc", "attention"): {"model": 0.46, "random_weights": 0.42}}))
    assert found.statistic is Verdict.DISAGREES
    assert "VCC (SS), 144 Attention Heads: 46.0% [44.0, 48.0]; majority 44.0%, random weights" in found.reason
    assert "(below 54.0%, the majority class and 10 points)" in found.reason


def test_what_random_weights_reach_as_well_decides_nothing():
    inputs_tell = {"model": 0.97, "random_weights": 0.91}
    found = v6(table3({("vcd", "embedding"): inputs_tell}))
    assert found.statistic is Verdict.AGREES  # by the attention prober alone
    open_parts = [part for part in found.parts if part.verdict is Verdict.NOT_TESTABLE]
    assert {part.what for part in open_parts} == {
        "VCD (SS), Layer 1",
        "VCD (SS), Layer 5",
        "VCD (SS), Layer 12",
        "VCD (TS), Layer 1",
        "VCD (TS), Layer 5",
    }
    assert open_parts[0].reason == "above 60%, but so are random weights: the inputs alone tell the link"
    as_high = {"model": 0.75, "random_weights": 0.74}
    untrained = v6(table3({("vcc", "attention"): as_high, ("vcc", "embedding"): as_high}))
    assert untrained.statistic is Verdict.NOT_TESTABLE
    assert "random weights are as well" in untrained.reason


def test_an_interval_over_the_bound_decides_nothing():
    over_bound = {"model": 0.6, "random_weights": 0.5}
    found = v6(table3({("vcd", "attention"): over_bound, ("vcd", "embedding"): over_bound}))
    assert found.statistic is Verdict.NOT_TESTABLE
    assert "the interval holds 60%" in found.reason


def test_a_side_that_was_not_measured_leaves_the_claim_open():
    found = v6(cell(subject("vcc"), VALUES["vcc", "attention"]))
    assert found.statistic is Verdict.NOT_TESTABLE
    assert found.reason.endswith("1 of 14 comparisons measured, none of VCC (TS), VCD (SS), VCD (TS)")


@pytest.mark.parametrize("link", [{}, HIGH_LINK])
def test_one_model_alone_neither_supports_nor_refutes_a_claim_about_both(link: dict[str, float]):
    rows = [row for row in table3({("vcd", "attention"): link}) if row.model == "uniter"]
    found = v6(rows)
    assert found.statistic is Verdict.NOT_TESTABLE
    assert found.reason.endswith("8 of 14 comparisons measured, none of VCC (TS), VCD (TS)")


def test_what_was_not_measured_of_a_table_is_counted():
    found = v6([row for row in table3() if row.prober == "attention"])
    assert found.statistic is Verdict.AGREES
    assert found.reason.endswith("4 of 14 comparisons measured: 4 agree, none disagrees")
    assert [part.reason for part in found.parts if part.what == "VCC (TS), Layer 5"] == ["not measured"]


def test_a_type_that_the_phrase_alone_tells_decides_nothing():
    alone = {"phrase_only": 1.0, "region_only": 0.93}
    found = v6(table3({("vcc", "attention"): alone, ("vcc", "embedding"): alone}))
    assert found.statistic is Verdict.NOT_TESTABLE
    reasons = {part.what: part.reason for part in found.parts}
    told = "far above the majority class, but not shown to tell more than the phrase alone and the region alone"
    assert reasons["VCC (SS), 144 Attention Heads"] == reasons["VCC (TS), Layer 5"] == told


@pytest.mark.parametrize(("gain", "verdict"), [(0.05, Verdict.AGREES), (0.01, Verdict.NOT_TESTABLE)])
def test_the_paired_difference_stands_the_type_to_what_the_phrase_alone_tells(gain: float, verdict: Verdict):
    rows = table3({("vcc", "attention"): {"phrase_only": 0.75 - gain}})  # intervals overlap either way
    paired = [
        replace(row, metric="accuracy_gain", parameter="over=phrase_only", value=gain, ci_low=gain - 0.02, ci_high=0.1)
        for row in rows
        if (row.probe, row.prober, row.condition, row.prober_seed) == ("vcc", "attention", "model", None)
    ]
    part = next(part for part in v6([*rows, *paired]).parts if part.what == "VCC (SS), 144 Attention Heads")
    assert part.verdict is verdict


def test_without_controls_or_interval_nothing_is_decided():
    alone = [*cell(subject("vcc"), {"model": 0.9}), *cell(subject("vcd"), {"model": 0.9})]
    assert v6(alone).statistic is Verdict.NOT_TESTABLE
    assert {part.reason for part in v6(alone).parts if part.is_measured} == {
        "no interval, or no majority or random weights beside it",
        "no interval, or no random weights beside it",
    }


def test_a_majority_that_leaves_no_room_decides_nothing():
    found = v6(table3({(probe, prober): {"majority": 0.95} for probe, prober in VALUES if probe == "vcc"}))
    assert "the majority class leaves no room" in {part.reason for part in found.parts}
    assert found.statistic is Verdict.NOT_TESTABLE


def test_random_weights_test_no_claim():
    found = v6(table3(weights="random"))
    assert (found.verdict, found.reason) == (Verdict.NOT_TESTABLE, "the weights are random: this is a control")


def test_without_rows_a_claim_that_has_an_experiment_says_so():
    assert v6([]).reason == "not measured in these runs; it takes value/table3"


def test_tables_are_those_of_which_a_number_was_measured():
    assert [(table.artefact.name, table.setting.words) for table in tables_beside(table3())] == [
        ("value/table3", "scenes, tiny")
    ]
    assert tables_beside([]) == []
