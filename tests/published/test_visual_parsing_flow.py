"""Claims P1 to P5 on made-up rows: what agrees, what disagrees, and what says nothing before the transition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from vlp.published import ARTEFACTS, Verdict, judge, stand_beside
from vlp.published.registry import tables_beside
from vlp.published.visual_parsing_flow import FLOW, MFR, NO_MFR, R50, RANDOM_MFR
from vlp.report.published import table_for_page
from vlp.results import Record, Row, Subject

AS_PRINTED = {"r50": 0.437, "r101": 0.441, "no_mfr": 0.461, "random_mfr": 0.463, "mfr": 0.474}
USED = dict.fromkeys(AS_PRINTED, 0.9)
LAYERS = range(1, 5)
CURVES = {"swin_vlp": 0.4, "soho": 0.35, "uniter": 0.34, "vilt": 0.2}
NMI = {"swin_vlp": [0.3] * 4, "soho": [0.3] * 4, "uniter": [0.7, 0.6, 0.5, 0.4], "vilt": [0.9, 0.5, 0.9, 0.9]}


def records(whose: Subject, rows: Iterable[Row]) -> list[Record]:
    return [Record.of(whose, row) for row in rows]


def subject(model: str, probe: str, row: str = "", **more: object) -> Subject:
    weights = f"visual_parsing_ablation@{row}-0011aabb" if row else "scenes-0011aabb"
    given = {"dataset": "coco_vg", "size": "base", "weights": weights, "prober": "", "seed": 0, **more}
    return Subject(model=model, probe=probe, **given)


def row(metric: str, value: float, half: float = 0.0005, **columns: object) -> Row:
    return Row("model", metric, value, 500, ci_low=value - half, ci_high=value + half, **columns)


def matching(accuracy: float) -> list[Row]:
    return [row("accuracy", accuracy, 0.01, label="itm")]


def table5(
    flows: Mapping[str, float] = AS_PRINTED,
    accuracies: Mapping[str, float] = USED,
    half: float = 0.0005,
    **more: object,
) -> list[Record]:
    found: list[Record] = []
    for name, value in flows.items():
        rows = [row("flow", value + (layer - 3) / 10, half, label="accumulated", layer=layer) for layer in LAYERS]
        rows += [row("flow", 0.1, half, label="layer", layer=3)]
        cost = {"multiply_accumulates": 4.1e9, "parameters": 25.6e6}
        rows += [Row("model", metric, number, 1, label="visual_parser") for metric, number in cost.items()]
        found += records(subject("swin_vlp", "imf", name, **more), rows)
        if name in accuracies:
            found += records(subject("swin_vlp", "pretraining", name, **more), matching(accuracies[name]))
    return found


def figures(
    flows: Mapping[str, float] = CURVES,
    nmi: Mapping[str, list[float]] = NMI,
    dip: float = -0.01,
    accuracy: float | None = 0.9,
    specials: str = "specials=text",
) -> list[Record]:
    found: list[Record] = []
    for model, value in flows.items():
        rows = []
        for layer in LAYERS:
            single = value / 2 + layer / 100 + (dip - 0.01 if layer == 4 else 0)
            rows += [row("flow", value + layer / 100, label="accumulated", layer=layer)]
            rows += [row("flow_over_uniform", 2 * value + layer / 100, label="accumulated", layer=layer)]
            rows += [row("flow", single, label="layer", layer=layer)]
        rows += [row("flow_change", dip, label="layer", layer=4)]
        found += records(subject(model, "imf"), rows)
        found += records(
            subject(model, "nmi"), [row("nmi", v, layer=k, parameter=specials) for k, v in enumerate(nmi[model], 1)]
        )
        if accuracy is not None:
            found += records(subject(model, "pretraining"), matching(accuracy))
    return found


def verdicts(rows: list[Record]) -> dict[str, tuple[Verdict, str]]:
    return {each.claim.claim_id: (each.verdict, each.reason) for each in judge(rows, ["visual_parsing"])}


def test_the_printed_order_of_table_5_agrees():
    found = verdicts(table5())
    assert {claim: found[claim][0] for claim in ("P1", "P2")} == dict.fromkeys(("P1", "P2"), Verdict.AGREES)


@pytest.mark.parametrize(
    ("change", "claim"), [({"r101": 0.47}, "P1"), ({"random_mfr": 0.48}, "P2"), ({"random_mfr": 0.45}, "P2")]
)
def test_another_order_disagrees(change: dict[str, float], claim: str):
    assert verdicts(table5({**AS_PRINTED, **change}))[claim][0] is Verdict.DISAGREES


def test_intervals_that_overlap_decide_nothing():
    verdict, reason = verdicts(table5(half=0.02))["P2"]
    assert verdict is Verdict.NOT_TESTABLE
    assert "the intervals overlap" in reason


def test_a_row_before_the_transition_decides_nothing_and_says_so():
    verdict, reason = verdicts(table5(accuracies={**USED, "mfr": 0.55, "random_mfr": 0.6}))["P2"]
    assert verdict is Verdict.NOT_TESTABLE
    assert f"{MFR}, before the transition: matching of held-out pairs 55.0% [54.0, 56.0], below 70%" in reason
    (table,) = stand_beside(ARTEFACTS["visual_parsing/table5"], table5(accuracies={**USED, "mfr": 0.55}))
    assert [cell.remarks[-1] for cell in table.cells if cell.printed.column == FLOW] == [
        *["matching of held-out pairs 90.0% [89.0, 91.0]"] * 4,
        "before the transition: matching of held-out pairs 55.0% [54.0, 56.0], below 70%",
    ]
    assert f"{MFR}: before the transition: matching of held-out pairs 55.0% [54.0, 56.0], below 70%." in table.reasons


def test_a_row_whose_matching_was_not_measured_decides_nothing():
    verdict, reason = verdicts(table5(accuracies={}))["P1"]
    assert verdict is Verdict.NOT_TESTABLE
    assert f"{NO_MFR}, matching of held-out pairs was not measured" in reason


def test_table_5_stands_in_one_setting_with_flow_of_three_layers_and_measured_cost():
    (table,) = tables_beside(table5())
    ours = {row: {c.printed.column: c.ours for c in table.cells if c.printed.row == row} for row in table.printed.rows}
    assert [ours[row][FLOW].value for row in table.printed.rows] == pytest.approx(list(AS_PRINTED.values()))
    assert ours[R50]["FLOPs (G)"].value == pytest.approx(4.1)
    assert ours[RANDOM_MFR]["Params (M)"].value == pytest.approx(25.6)
    assert ours[R50]["VQA dev"] is None
    assert not [reason for reason in table.reasons if reason.startswith("Not measured")]
    assert table_for_page(table)["rows"][0][1][2].ours == "0.437"


def test_seeds_of_a_row_are_averaged_and_rows_are_not():
    other = {name: value + 0.01 for name, value in AS_PRINTED.items()}
    rows = [*table5(), *table5(other, seed=1)]
    moved = [Record(**{**vars(it), "weights": it.weights[:-1] + "c"}) if it.seed else it for it in rows]
    (table,) = tables_beside(moved)
    cell = table.find(R50, FLOW)
    assert (cell.ours.num_seeds, cell.ours.value) == (2, pytest.approx(0.442))


def test_generated_scenes_test_no_claim_but_say_what_their_numbers_would():
    verdict, reason = verdicts(table5(dataset="scenes", size="tiny"))["P1"]
    assert verdict is Verdict.NOT_TESTABLE
    assert reason.startswith("generated data; on scenes: agrees.")


def test_curves_in_the_printed_order_agree():
    found = verdicts(figures())
    assert {claim: found[claim][0] for claim in ("P3", "P4", "P5")} == dict.fromkeys(("P3", "P4", "P5"), Verdict.AGREES)
    assert found["P6"] == (Verdict.NOT_TESTABLE, "no experiment yet for visual_parsing/table1")


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({"flows": {**CURVES, "vilt": 0.36}}, "P3"),
        ({"dip": 0.02}, "P4"),
        ({"nmi": {**NMI, "soho": [0.3, 0.3, 0.3, 0.6]}}, "P5"),
        ({"nmi": {**NMI, "uniter": [0.4, 0.5, 0.6, 0.7]}}, "P5"),
        ({"nmi": {**NMI, "vilt": [0.2] * 4}}, "P5"),
    ],
)
def test_curves_in_another_order_disagree(change: dict[str, object], claim: str):
    assert verdicts(figures(**change))[claim][0] is Verdict.DISAGREES


def test_models_before_the_transition_decide_nothing():
    found = verdicts(figures(accuracy=0.6))
    assert {found[claim][0] for claim in ("P3", "P4", "P5")} == {Verdict.NOT_TESTABLE}
    assert "before the transition, by matching: Ours (60.0% [59.0, 61.0])" in found["P3"][1]
    assert verdicts(figures(accuracy=None))["P3"][0] is Verdict.AGREES


def of_seeds(accuracies: Mapping[int, float | None]) -> list[Record]:
    """Return table 5 of as many seeds, each with checkpoints of its own; ``accuracies`` are those of row mfr."""
    found = []
    for seed, accuracy in accuracies.items():
        used = {name: it for name, it in {**USED, "mfr": accuracy}.items() if it is not None}
        rows = table5(accuracies=used, seed=seed)
        found += [Record(**{**vars(it), "weights": f"{it.weights[:-1]}{seed}"}) for it in rows]
    return found


def test_one_seed_before_the_transition_is_not_hidden_by_the_mean():
    verdict, reason = verdicts(of_seeds({0: 0.95, 1: 0.95, 2: 0.45}))["P2"]
    assert verdict is Verdict.NOT_TESTABLE
    early = "before the transition in 1 of 3 seeds: matching of held-out pairs 45.0% [44.0, 46.0], below 70%"
    assert f"{MFR}, {early}" in reason
    verdict, reason = verdicts(of_seeds({0: 0.95, 1: None}))["P2"]
    assert verdict is Verdict.NOT_TESTABLE
    assert f"{MFR}, matching of held-out pairs was not measured" in reason
    assert verdicts(of_seeds({0: 0.95, 1: 0.9}))["P2"][0] is Verdict.AGREES


def test_table_5_says_that_the_half_of_its_claims_on_vqa_was_not_measured():
    assert verdicts(table5())["P1"][1] == "2 of 4 comparisons measured: 2 agree, none disagrees"


def test_numbers_of_other_options_are_no_number_of_a_figure():
    """NMI leaves [CLS] and [SEP] out unless asked; figure 5 counts them."""
    names = {table.artefact.name for table in tables_beside(figures(specials=""))}
    assert names == {"visual_parsing/figure3", "visual_parsing/figure4"}


def test_a_curve_that_falls_but_for_its_last_layers_does_not_rise():
    found = []
    for model in CURVES:
        falling = [0.10, 0.30, 0.25, 0.20, 0.15, 0.10, 0.05, 0.04, 0.03, 0.02, 0.12, 0.11]
        rows = [row("flow", value, label="layer", layer=layer) for layer, value in enumerate(falling, 1)]
        found += records(subject(model, "imf"), [*rows, row("flow_change", -0.01, label="layer", layer=12)])
    verdict, reason = verdicts(found)["P4"]
    assert verdict is Verdict.DISAGREES
    assert "later half above earlier half, Ours" in reason


def test_what_lacks_is_named():
    reason = verdicts(figures({"swin_vlp": 0.4, "uniter": 0.3}))["P3"][1]
    pairs = ("Ours above SOHO", "SOHO above ViLT", "UNITER above ViLT")
    lacking = [f"{pair} by {metric}" for metric in ("flow", "flow over uniform") for pair in pairs]
    assert reason.endswith(f"none of {', '.join(lacking)}")


def test_rows_of_table_5_are_no_curve_of_a_figure():
    tables = {table.artefact.name: table for table in tables_beside([*table5(), *figures()])}
    first = tables["visual_parsing/figure3"].find("Ours", "F_inter^{1,1}")
    assert first.ours.value == pytest.approx(0.41)
    assert tables["visual_parsing/table5"].find(R50, FLOW).ours.value == pytest.approx(0.437)
