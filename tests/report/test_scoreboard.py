from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.report.samples import NMI, NMI_BY_LAYER, TRAINED, nmi_rows, pretraining_rows, prober_rows, records, row
from vlp.report.scoreboard import Answer, scoreboard, whose
from vlp.results import Row, Subject

OWN_PROBE = replace(TRAINED, probe="counting")


def answer_to(subject: Subject, rows: Sequence[Row]) -> Answer:
    (answer,) = scoreboard(records(subject, rows))
    return answer


def test_the_demo_is_answered_in_three_lines():
    answers = scoreboard([*records(NMI, nmi_rows()), *records(TRAINED, pretraining_rows())])
    assert [(answer.question, answer.finding.verdict, answer.missing) for answer in answers] == [
        ("Does it tell matched from swapped pairs?", "yes", ()),
        ("Does it use the image to fill in masked words?", "yes", ()),
        ("Are text and vision mixed more than without training?", "yes", ()),
    ]
    assert [answer.finding.text for answer in answers] == [
        "92.1% [90.5, 93.8] of pairs classified correctly, against 50.3% [47.2, 53.3] with random weights and 50.0% by "
        "the majority class; intervals do not overlap.",
        "A masked word costs 1.52\u00a0bits [1.46, 1.58] with its own image and 2.31\u00a0bits [2.25, 2.37] with the "
        "mean image: 0.79\u00a0bits [0.73, 0.85] more; 0.00\u00a0bits [\u22120.06, 0.06] with random weights.",
        "NMI is lower than with random weights in layers 1–4 (intervals do not overlap) and not told from random "
        "weights in the embedding output (intervals overlap); in layer 4 it is 0.214 [0.199, 0.229], 0.981 [0.966, "
        "0.996] with random weights, 0.012 [0.000, 0.024] when shuffled.",
    ]


@pytest.mark.parametrize(
    ("accuracy", "verdict", "end"),
    [
        (0.56, "yes", "intervals do not overlap."),
        (0.54, "open", "intervals overlap."),  # [0.52, 0.56] and [0.48, 0.52] touch
        (0.50, "open", "intervals overlap."),
        (0.44, "no", "intervals do not overlap."),
    ],
)
def test_a_verdict_needs_intervals_without_a_common_point(accuracy: float, verdict: str, end: str):
    rows = [
        row("model", "accuracy", accuracy, 0.02, label="itm"),
        row("random_weights", "accuracy", 0.5, 0.02, label="itm"),
    ]
    answer = answer_to(TRAINED, rows)
    assert answer.finding.verdict == verdict
    assert answer.finding.text.endswith(end)


def test_beating_random_weights_but_not_the_majority_is_no_plain_yes():
    rows = [
        row("model", "accuracy", 0.7, 0.02, label="itm"),
        row("random_weights", "accuracy", 0.5, 0.02, label="itm"),
        row("majority", "accuracy", 0.71, label="itm"),
    ]
    answer = answer_to(TRAINED, rows)
    assert answer.finding.verdict == "partly"
    assert answer.finding.text == (
        "70.0% [68.0, 72.0] of pairs classified correctly, against 50.0% [48.0, 52.0] with random weights (intervals "
        "do not overlap) and 71.0% by the majority class (intervals overlap)."
    )


@pytest.mark.parametrize(("difference", "verdict"), [(0.07, "yes"), (0.06, "open"), (-0.07, "no")])
def test_the_image_is_used_where_the_paired_difference_leaves_zero_out(difference: float, verdict: str):
    values = {"own": 2.0, "mean": 2.0 + difference, "mean-own": difference}
    rows = [
        row("model", "bits", value, 0.06, label="masked_words", parameter=f"image={image}")
        for image, value in values.items()
    ]
    assert answer_to(TRAINED, rows).finding.verdict == verdict


def test_losses_without_their_difference_are_shown_without_a_verdict():
    rows = [row("model", "bits", 2.0, 0.06, label="masked_words", parameter="image=own")]
    answer = answer_to(TRAINED, rows)
    assert (answer.question, answer.finding.verdict) == ("pretraining: Loss, masked words, image=own", "measured")


def test_mixing_in_some_layers_only_is_told_as_such():
    values = dict(zip(range(5), (0.97, 0.98, 0.97, 0.5, 0.3), strict=True))
    rows = [row("model", "nmi", value, 0.01, layer=layer) for layer, value in values.items()]
    rows += [row("random_weights", "nmi", 0.98, 0.01, layer=layer) for layer in values]
    answer = answer_to(NMI, rows)
    assert answer.finding.verdict == "partly"
    assert "lower than with random weights in layers 3–4 (intervals do not overlap)" in answer.finding.text
    assert "in layers 1–2 and the embedding output (intervals overlap)" in answer.finding.text


def test_a_missing_control_is_named():
    answer = answer_to(NMI, nmi_rows(["model", "random_weights"]))
    assert answer.missing == ("shuffled",)


def test_random_weights_are_a_control_and_need_the_others():
    assert answer_to(replace(NMI, weights="random"), nmi_rows(["model"])).missing == ("shuffled",)
    answer = answer_to(replace(NMI, weights="random"), nmi_rows(["model", "shuffled"]))
    assert (answer.finding.verdict, answer.missing) == ("measured", ())
    assert answer.finding.text == (
        "NMI goes from 0.960 [0.945, 0.975] in the embedding output to 0.214 [0.199, 0.229] in layer 4; the weights "
        "are random, so this is a control itself."
    )


@pytest.mark.parametrize("probe", ["vcd", "vrc"])
def test_random_weights_of_a_trained_probe_need_chance_the_majority_and_the_paper_s_controls(probe: str):
    subject = replace(TRAINED, probe=probe, prober="attention", weights="random")
    own = {"vcd": ("phrase_only", "region_only"), "vrc": ("mismatched", "visual_features")}[probe]
    assert answer_to(subject, [row("model", "accuracy", 0.5)]).missing == ("chance", "majority", *own)


def test_without_intervals_there_is_no_verdict():
    rows = [row(c, "nmi", NMI_BY_LAYER[c][k], layer=k) for c in ("model", "random_weights") for k in (1, 2)]
    answer = answer_to(NMI, rows)
    assert answer.finding.verdict == "measured"
    assert "no intervals to judge by" in answer.finding.text


def test_an_unknown_probe_is_answered_from_its_rows():
    rows = [row("model", "accuracy", 0.8, 0.05), row("random_weights", "accuracy", 0.5, 0.05)]
    answer = answer_to(OWN_PROBE, rows)
    assert (answer.question, answer.finding.verdict) == ("counting: Accuracy", "yes")
    assert (
        answer.finding.text
        == "80.0% [75.0, 85.0], against 50.0% [45.0, 55.0] with random weights; intervals do not overlap."
    )


def test_of_a_metric_with_neither_side_better_only_a_difference_is_told():
    rows = [row("model", "mass", 0.8, 0.05), row("random_weights", "mass", 0.5, 0.05)]
    assert answer_to(OWN_PROBE, rows).finding.verdict == "differs"


def test_the_largest_head_is_told_with_its_bias():
    rows = [
        row("model", "mass", 0.1 * layer + 0.05 * head, layer=layer, head=head) for layer in (1, 2) for head in (1, 2)
    ]
    finding = answer_to(OWN_PROBE, rows).finding
    assert finding.verdict == "measured"
    assert finding.text.startswith("Largest of 4 heads: 30.0% in layer 2, head 2. The largest of many is too large")


def test_conditions_of_a_probe_s_own_are_listed():
    rows = [row(condition, "bits", value) for condition, value in (("none", 1.5), ("phrase", 1.9), ("object", 2.25))]
    answer = answer_to(OWN_PROBE, rows)
    assert answer.finding.text == "None 1.50\u00a0bits; Phrase 1.90\u00a0bits; Object 2.25\u00a0bits."
    assert answer.missing == ()


def test_of_a_row_a_class_only_the_whole_gets_a_line():
    rows = [row("model", "accuracy", 0.8, 0.1), *(row("model", "accuracy", 0.7, label=f"class {i}") for i in range(30))]
    assert [answer.question for answer in scoreboard(records(OWN_PROBE, rows))] == ["counting: Accuracy"]


def test_streams_are_answered_apart():
    rows = [
        row(condition, "nmi", value, 0.01, stage=stage, layer=1)
        for condition, value in (("model", 0.3), ("random_weights", 0.9), ("shuffled", 0.0))
        for stage in ("text", "cross")
    ]
    assert [answer.question.rpartition(" ")[2] for answer in scoreboard(records(NMI, rows))] == ["(text)", "(cross)"]


def prober_answers(prober: str, rows: Sequence[Row] | None = None, probe: str = "vcd") -> list[Answer]:
    subject = replace(TRAINED, probe=probe, prober=prober)
    return scoreboard(records(subject, prober_rows(prober) if rows is None else rows))


def test_what_heads_tell_is_one_line_beside_every_control_with_the_paired_gain():
    (answer,) = prober_answers("attention")
    assert answer.question == "Can a prober read off whether a phrase and a region belong together? (attention prober)"
    assert (answer.finding.verdict, answer.missing, answer.explanation) == ("yes", (), "")
    assert answer.finding.text == (
        "88.0% [86.5, 89.5] right (balanced 87.0% [85.5, 88.5]), against 57.0% [55.5, 58.5] with random weights, 50.0% "
        "by chance, 50.0% [49.0, 51.0] by the majority class, 53.0% [51.5, 54.5] on the control task, 51.0% [49.5, "
        "52.5] from the phrase alone, 50.0% [48.5, 51.5] from the region alone; paired difference to random weights "
        "31.0\u00a0points [29.0, 33.0], p 0.0020."
    )


def test_where_random_weights_score_high_it_is_explained():
    (answer,) = prober_answers("embedding")
    assert answer.finding.verdict == "partly"  # the gain leaves 0 out in layers 3 and 4 of four
    assert answer.finding.text.startswith(
        "At best 95.0% [93.5, 96.5] right (balanced 94.0% [92.5, 95.5]) in layer 4, against 90"
    )
    assert answer.finding.text.endswith("above random weights and trivial baselines in layers 3–4, of layers 1–4.")
    assert answer.explanation.startswith(
        "Random weights already reach 90.0% [88.5, 91.5] in the embedding output: which word it is and which features "
        "the region has is all it takes"
    )


def test_a_model_below_random_weights_is_explained_for_heads_too():
    rows = [
        row("model", "accuracy", 0.3, 0.02),
        row("random_weights", "accuracy", 0.5, 0.02),
        row("majority", "accuracy", 0.2, 0.02),
        row("model", "accuracy_gain", -0.2, 0.02, parameter="over=random_weights"),
    ]
    (answer,) = prober_answers("attention", rows, "vrc")
    assert answer.finding.verdict == "no"
    assert "Random weights already reach 50.0%" in answer.explanation
    assert "random projections weigh one token by the other as they are" in answer.explanation
    assert answer.explanation.endswith("harder to read for this prober, which does not say it is gone.")


@pytest.mark.parametrize(
    ("probe", "own"),
    [
        ("vcd", ["phrase_only", "region_only"]),
        ("vcc", ["phrase_only", "region_only"]),
        ("vri", ["mismatched", "visual_features"]),
        ("vrc", ["mismatched", "visual_features"]),
    ],
)
def test_a_trained_probe_needs_its_paper_s_controls(probe: str, own: list[str]):
    alone = [row("model", "accuracy", 0.8, 0.02)]
    (answer,) = prober_answers("attention", alone, probe)
    assert answer.missing == ("chance", "majority", "random_weights", *own)
    controls = [row(name, "accuracy", 0.5, 0.02) for name in answer.missing]
    (complete,) = prober_answers("attention", [*alone, *controls], probe)
    assert complete.missing == ()


def test_controls_alone_lack_the_model():
    rows = [each for each in prober_rows("attention") if each.condition != "model"]
    assert {answer.missing[0] for answer in prober_answers("attention", rows)} == {"model"}


@pytest.mark.parametrize("metric", ["balanced_accuracy", "accuracy_gain", "selectivity"])
def test_without_the_accuracy_what_stands_for_it_needs_its_controls(metric: str):
    rows = [row("model", metric, 0.6, 0.02), row("random_weights", metric, 0.5, 0.02)]
    assert prober_answers("attention", rows)[0].missing == ("chance", "majority", "phrase_only", "region_only")


def test_a_prober_of_raw_features_is_answered_as_the_control_it_is():
    controls = [row("chance", "accuracy", 0.167), row("majority", "accuracy", 0.25, 0.02)]
    raw = [row("visual_features", "accuracy", 0.4, 0.02), row("visual_features", "balanced_accuracy", 0.38, 0.02)]
    (answer,) = prober_answers("visual_features", [*controls, *raw, row("chance", "description_length", 225)], "vrc")
    assert answer.question == "Can a prober read off how two regions are related? (visual_features prober)"
    assert (answer.finding.verdict, answer.missing) == ("measured", ())
    assert answer.finding.text == (
        "40.0% [38.0, 42.0] right (balanced 38.0% [36.0, 40.0]) from the raw visual features, against 16.7% by chance, "
        "25.0% [23.0, 27.0] by the majority class; no model is read, so this is a control itself."
    )
    assert prober_answers("visual_features", raw, "vrc")[0].missing == ("chance", "majority")


def test_a_baseline_without_a_number_is_no_question():
    rows = [row("chance", "description_length", 225), *prober_rows("embedding")]
    assert len(prober_answers("embedding", rows)) == 1


def test_a_difference_needs_no_control_and_balanced_accuracy_random_weights():
    subject = replace(TRAINED, probe="counting", prober="attention")
    rows = [row("model", "selectivity", 0.3, 0.02), row("model", "balanced_accuracy", 0.6, 0.02)]
    assert [answer.missing for answer in scoreboard(records(subject, rows))] == [(), ("random_weights",)]


@pytest.mark.parametrize(("gain", "verdict"), [(0.05, "yes"), (0.01, "open"), (-0.05, "no")])
def test_the_paired_gain_decides_where_there_is_one(gain: float, verdict: str):
    rows = [
        row("model", "accuracy", 0.8, 0.05),
        row("random_weights", "accuracy", 0.8 - gain, 0.05),  # intervals overlap throughout
        row("majority", "accuracy", 0.5),
        row("model", "accuracy_gain", gain, 0.02, parameter="over=random_weights"),
    ]
    (answer,) = prober_answers("attention", rows)
    assert answer.finding.verdict == verdict


def rows_beside(controls: dict[str, float], gains: dict[str, float]) -> list[Row]:
    """Return an accuracy of 86 % far above random weights, beside the probe's own controls."""
    rows = [
        row("model", "accuracy", 0.86, 0.015),
        row("random_weights", "accuracy", 0.4, 0.02),
        row("majority", "accuracy", 0.24, 0.02),
        row("model", "accuracy_gain", 0.46, 0.02, parameter="over=random_weights"),
    ]
    rows += [row(name, "accuracy", value, 0.005) for name, value in controls.items()]
    return rows + [row("model", "accuracy_gain", by, 0.02, parameter=f"over={name}") for name, by in gains.items()]


def test_what_the_inputs_tell_without_the_model_is_no_plain_yes():
    rows = rows_beside({"phrase_only": 1.0, "region_only": 0.934}, {"phrase_only": -0.14, "region_only": -0.073})
    (answer,) = prober_answers("attention", rows, "vcc")
    assert answer.finding.verdict == "partly"
    assert answer.finding.text.endswith(
        ". The phrase alone (paired difference \u221214.0\u00a0points [\u221216.0, \u221212.0]) and the region alone "
        "(paired difference \u22127.3\u00a0points [\u22129.3, \u22125.3]) tell more."
    )


@pytest.mark.parametrize(
    ("control", "gain", "verdict", "end"),
    [
        (0.86, 0.01, "partly", "[\u22121.0, 3.0]) tell no less."),
        (0.80, 0.06, "yes", "46.0\u00a0points [44.0, 48.0]."),
    ],
)
def test_a_model_has_to_tell_more_than_the_raw_features(control: float, gain: float, verdict: str, end: str):
    rows = rows_beside({"visual_features": control}, {"visual_features": gain})
    finding = prober_answers("attention", rows, "vrc")[0].finding
    assert (finding.verdict, finding.text.endswith(end)) == (verdict, True)


@pytest.mark.parametrize(("control", "verdict"), [(0.9, "partly"), (0.86, "partly"), (0.8, "yes")])
def test_without_a_paired_gain_intervals_stand_to_the_probe_s_own_controls(control: float, verdict: str):
    assert prober_answers("attention", rows_beside({"region_only": control}, {}), "vcc")[0].finding.verdict == verdict


def test_mismatched_pairs_are_a_condition_and_no_control_to_beat():
    finding = prober_answers("attention", rows_beside({"mismatched": 0.9}, {"mismatched": -0.04}), "vrc")[0].finding
    assert (finding.verdict, " tell" in finding.text) == ("yes", False)


def test_above_random_weights_but_not_above_the_majority_is_not_shown():
    rows = [
        row("model", "accuracy", 0.5, 0.02),
        row("random_weights", "accuracy", 0.3, 0.02),
        row("majority", "accuracy", 0.5),
    ]
    assert prober_answers("attention", rows)[0].finding.verdict == "open"


def test_single_prober_seeds_are_not_answered_for_themselves():
    (answer,) = prober_answers("attention")
    assert all(record.prober_seed is None for each in answer.evidence for record in each.by_condition.values())


def test_probers_of_one_model_stand_under_one_name():
    answers = [*prober_answers("attention"), *prober_answers("embedding")]
    assert len({whose(answer) for answer in answers}) == 1


def test_flow_is_told_layer_by_layer_beside_its_controls():
    flow = {"model": 0.3, "random_weights": 0.2, "mismatched": 0.29, "uniform": 0.25}
    rows = [
        row(condition, "flow", value + layer / 100, 0.01, stage="joint", layer=layer, label="accumulated")
        for condition, value in flow.items()
        for layer in (1, 2)
    ]
    answer = answer_to(replace(NMI, probe="imf"), rows)
    assert answer.question == "How much flows between text and vision from layer 1 up to each?"
    assert answer.missing == ()
    assert "higher than with random weights in layers 1–2" in answer.finding.text


@pytest.mark.parametrize("metric", ["tokens", "multiply_accumulates", "parameters"])
def test_what_no_weights_change_lacks_no_control(metric: str):
    answer = answer_to(replace(NMI, probe="imf"), [row("model", metric, 25.0, label="vision")])
    assert answer.missing == ()
