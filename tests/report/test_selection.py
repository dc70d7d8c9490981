from dataclasses import replace

import pytest

from tests.report.samples import NMI, TRAINED, nmi_rows, pretraining_rows, prober_rows, records, row
from vlp.report.panels import DotPanel, HeatPanel, LinePanel
from vlp.report.selection import MAX_DOTS, result_figures


def test_layers_make_curves_with_bands_a_panel_a_model():
    both = [*records(NMI, nmi_rows()), *records(replace(NMI, model="lxmert"), nmi_rows(["model"]))]
    (figure,) = result_figures(both)
    assert (figure.name, [panel.title for panel in figure.panels]) == (
        "nmi-nmi-layers",
        ["uniter · joint", "lxmert · joint"],
    )
    uniter = figure.panels[0]
    assert isinstance(uniter, LinePanel)
    assert [line.name for line in uniter.lines] == ["This model", "Random weights", "Shuffled"]
    assert uniter.lines[0].points[4] == pytest.approx((4.0, 0.214, 0.199, 0.229))
    assert (uniter.lower, uniter.upper) == (0.0, 1.0)


def test_heads_make_a_heat_map_of_the_model_in_shown_units():
    rows = [
        row(condition, "mass", 0.1 * layer + 0.05 * head, stage="joint", layer=layer, head=head)
        for condition in ("model", "random_weights")
        for layer in (1, 2)
        for head in (1, 2, 3)
    ]
    (figure,) = result_figures(records(NMI, rows))
    (panel,) = figure.panels
    assert isinstance(panel, HeatPanel)
    assert (panel.layers, panel.heads) == ((1, 2), (1, 2, 3))
    assert panel.values[1][2] == pytest.approx(35.0)
    assert panel.value_title == "Attention mass (%)"


def test_single_numbers_make_a_dot_a_condition():
    figures = result_figures(records(TRAINED, pretraining_rows()))
    assert [figure.name for figure in figures] == ["pretraining-accuracy-values", "pretraining-bits-values"]
    (accuracy,) = figures[0].panels
    assert isinstance(accuracy, DotPanel)
    assert [(dot.name, dot.points[0][1]) for dot in accuracy.dots] == [
        ("This model", pytest.approx(92.14)),
        ("Random weights", pytest.approx(50.29)),
        ("Majority", 50.0),
    ]
    assert [panel.title for panel in figures[1].panels] == [
        "Loss, masked words, image=own",
        "Loss, masked words, image=mean",
        "Loss, masked words, image=mean-own",
    ]


def test_subjects_with_long_names_have_a_panel_each_so_that_every_condition_is_named():
    rows = [row(condition, "accuracy", 0.5, 0.1) for condition in ("model", "random_weights", "phrase_only")]
    subjects = [replace(TRAINED, model=model, prober=prober) for model in ("uniter", "lxmert") for prober in ("a", "b")]
    subjects = [replace(each, weights=f"scenes-{each.model}-{each.prober}") for each in subjects]
    (figure,) = result_figures([record for each in subjects for record in records(each, rows)])
    assert [panel.title for panel in figure.panels] == [
        f"Accuracy · {model} · scenes-{model}-{prober} · {prober}" for model in ("uniter", "lxmert") for prober in "ab"
    ]
    names = ["This model", "Random weights", "Phrase only"]
    assert [[dot.name for dot in panel.dots] for panel in figure.panels] == [names] * 4  # type: ignore[union-attr]


def test_subjects_with_short_names_share_a_panel():
    rows = [row(condition, "accuracy", 0.5, 0.1) for condition in ("model", "random_weights")]
    (figure,) = result_figures([*records(TRAINED, rows), *records(replace(TRAINED, model="lxmert"), rows)])
    (panel,) = figure.panels
    assert [dot.name for dot in panel.dots] == [  # type: ignore[union-attr]
        f"{model} · {name}" for model in ("uniter", "lxmert") for name in ("This model", "Random weights")
    ]


@pytest.mark.parametrize(
    ("halves", "said"),
    [
        ((0.1, 0.1), ", with 95% intervals."),
        ((0.1, None), ", with 95% intervals where there are some."),
        ((None,) * 2, "."),
    ],
)
def test_a_caption_promises_intervals_only_where_there_are_some(halves: tuple[float | None, ...], said: str):
    rows = [row(name, "accuracy", 0.5, half) for name, half in zip(("model", "shuffled"), halves, strict=True)]
    (figure,) = result_figures(records(TRAINED, [*rows, row("chance", "accuracy", 0.5)]))
    assert figure.caption == f"Accuracy (probe pretraining) as single numbers{said}"


def test_chance_and_the_majority_are_drawn_apart():
    rows = [row(name, "accuracy", 0.5, layer=layer) for name in ("model", "chance", "majority") for layer in (1, 2)]
    (figure,) = result_figures(records(TRAINED, rows))
    (panel,) = figure.panels
    assert [line.dashes for line in panel.lines] == ["-", ":", "--"]  # type: ignore[union-attr]


def test_a_metric_with_very_many_rows_has_a_table_and_no_dots():
    rows = [row("model", "accuracy", 0.5, label=f"class {number}") for number in range(MAX_DOTS + 1)]
    assert result_figures(records(TRAINED, rows)) == []


def test_a_prober_of_states_makes_curves_of_model_and_controls_without_single_seeds():
    accuracy, _, gain = result_figures(
        records(replace(TRAINED, probe="vcd", prober="embedding"), prober_rows("embedding"))
    )
    assert accuracy.caption.startswith("Accuracy (probe vcd, embedding prober) layer by layer")
    (panel,) = accuracy.panels
    assert isinstance(panel, LinePanel)
    assert [line.name for line in panel.lines] == [
        *("This model", "Random weights", "Chance", "Majority", "Control task", "Phrase only", "Region only"),
    ]
    assert panel.lines[0].points[4] == pytest.approx((4.0, 95.0, 93.5, 96.5))
    assert len({line.color for line in panel.lines if line.color is not None}) == 5
    assert (gain.panels[0].lower, gain.panels[0].upper) == (
        0.0,
        0.0,
    )  # a difference: 0 is on the axis, the rest is free


def test_a_row_a_class_and_gains_over_other_controls_are_left_to_the_table():
    rows = [
        *(row("model", "recall", 0.5, label=name, layer=layer) for name in ("dog", "cat") for layer in (1, 2)),
        row("model", "accuracy_gain", 0.1, parameter="over=shuffled"),
        row("model", "accuracy_gain", 0.1, parameter="over=random_weights"),
    ]
    (figure,) = result_figures(records(TRAINED, rows))
    assert [panel.title for panel in figure.panels] == ["Gain in accuracy, over=random_weights"]


def test_the_model_s_colour_is_its_own_and_a_control_s_the_same_everywhere():
    rows = [
        row(condition, "accuracy", 0.5, layer=1) for condition in ("model", "random_weights", "chance", "one", "two")
    ]
    (figure,) = result_figures(records(TRAINED, rows))
    colors = {line.name: line.color for line in figure.panels[0].lines}  # type: ignore[union-attr]
    assert colors["This model"] == 0
    assert colors["Random weights"] == 1
    assert colors["Chance"] is None
    assert len({colors["One"], colors["Two"], 0, 1}) == 4


def test_file_names_hold_nothing_that_a_command_line_cannot_carry():
    rows = [
        row("model", "bits", 1.5, label="masked words, <b>", parameter="threshold=0.5", layer=layer) for layer in (1, 2)
    ]
    (figure,) = result_figures(records(TRAINED, rows))
    assert figure.name == "pretraining-bits-masked_words_b-threshold_0.5-layers"
