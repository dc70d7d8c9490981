import math

import pytest

from vlp.report.panels import LinePanel
from vlp.report.reading import Series
from vlp.report.training import training_figure


def panel(history: dict[str, Series], title: str) -> LinePanel:
    (found,) = [each for each in training_figure(history).panels if each.title.startswith(title)]
    assert isinstance(found, LinePanel)
    return found


def test_masked_word_losses_are_shown_in_bits():
    history = {"val/mlm": ((10, math.log(2)),), "val/mlm_mean_image": ((10, 2 * math.log(2)),)}
    words = panel(history, "Masked words")
    assert words.y_title == "Loss (bits)"
    assert {line.name: line.points[0][1] for line in words.lines} == pytest.approx(
        {"own image": 1.0, "mean image": 2.0}
    )


def test_matching_accuracy_is_shown_in_percent_beside_a_dashed_majority():
    history = {"val/itm_accuracy": ((0, 0.5), (10, 0.75)), "val/itm_majority": ((0, 0.5), (10, 0.5))}
    matching = panel(history, "Matched or swapped")
    assert [point[:2] for point in matching.lines[0].points] == [(0, 50), (10, 75)]
    assert [line.dashes for line in matching.lines] == ["-", "--"]
    assert (matching.lower, matching.upper) == (0, 100)


def test_layers_stand_in_order_of_their_number_on_a_ramp():
    history = {f"val/nmi_layer_{layer}": ((10, 0.5),) for layer in (10, 9, 0)}
    layers = panel(history, "Text and vision")
    assert [(line.name, line.share) for line in layers.lines] == [("layer 0", 0), ("layer 9", 0.5), ("layer 10", 1)]


def test_whatever_else_was_logged_is_shown_as_well():
    history = {"val/mfr": ((10, 0.5),), "train/mfr": ((10, 0.5),), "lr-AdamW": ((10, 0.1),)}
    titles = {each.title: [line.name for line in each.lines] for each in training_figure(history).panels}
    assert titles == {"Losses in training": ["mfr"], "Also logged on held-out pairs": ["mfr"]}
