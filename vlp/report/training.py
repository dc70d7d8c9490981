"""Which of the numbers that a training logged make which curve."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from vlp.report.measures import Measure, measure
from vlp.report.panels import Figure, Line, LinePanel, axis_range
from vlp.report.reading import Series

CAPTION = "Training curves over steps; dashed: baselines that need no image, or no learning at all."

_MATCHING = {"val/itm_accuracy": "model", "val/itm_majority": "majority"}
_WORDS = {"val/mlm": "own image", "val/mlm_mean_image": "mean image", "val/mlm_baseline": "unigram entropy"}
_BASELINES = frozenset({"val/itm_majority", "val/mlm_baseline"})
_LAYER = re.compile(r"val/nmi_layer_\d+")
_NATS = Measure("", "Loss", "nats", 0.0, None)


def training_figure(history: Mapping[str, Series]) -> Figure:
    """Return the curves of one training: matching, masked words, NMI a layer, and whatever else was logged."""
    layers = sorted((name for name in history if _LAYER.fullmatch(name)), key=lambda name: int(name.rsplit("_", 1)[1]))
    shown = {*_MATCHING, *_WORDS, *layers}
    others = [name for name in history if name.startswith("val/") and name not in shown]
    losses = [name for name in history if name.startswith("train/")]
    ramp = {name: f"layer {name.rsplit('_', 1)[1]}" for name in layers}
    panels = [
        _curves("Matched or swapped? (held-out pairs)", history, _MATCHING, measure("accuracy")),
        _curves("Masked words (held-out)", history, _WORDS, measure("bits"), 1 / math.log(2)),
        _ramped(_curves("Text and vision apart? (held-out)", history, ramp, measure("nmi"))),
        _curves("Losses in training", history, _named(losses), _NATS),
        _curves("Also logged on held-out pairs", history, _named(others), Measure("", "Value", "", None, None)),
    ]
    return Figure("training", CAPTION, tuple(panel for panel in panels if panel.lines))


def _curves(
    title: str, history: Mapping[str, Series], names: Mapping[str, str], shown: Measure, factor: float = 1.0
) -> LinePanel:
    """Return curves over steps; stored values are multiplied by ``factor``."""
    lines = []
    for color, (name, words) in enumerate((name, words) for name, words in names.items() if name in history):
        points = tuple((float(step), value * factor * shown.scale, None, None) for step, value in history[name])
        is_baseline = name in _BASELINES
        lines.append(Line(words, points, None if is_baseline else color, dashes="--" if is_baseline else "-"))
    lower, upper = axis_range(shown)
    return LinePanel(title, "step", shown.axis_title, tuple(lines), lower, upper)


def _ramped(panel: LinePanel) -> LinePanel:
    last = max(len(panel.lines) - 1, 1)
    return replace(panel, lines=tuple(replace(line, share=i / last) for i, line in enumerate(panel.lines)))


def _named(columns: Iterable[str]) -> dict[str, str]:
    return {name: name.split("/", 1)[1].replace("_", " ") for name in columns}
