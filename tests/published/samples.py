"""Made-up rows of the probes behind table 3 of VALUE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlp.results import Record, Row, Subject

DEPTHS = {"uniter": ("joint", 4), "lxmert": ("cross", 2)}

ALONE = {"phrase_only": 0.62, "region_only": 0.55}
"""What tells the type without the model."""

VALUES = {
    ("vcd", "attention"): {"model": 0.54, "random_weights": 0.51, "chance": 0.5, "majority": 0.5},
    ("vcd", "embedding"): {"model": 0.57, "random_weights": 0.52, "chance": 0.5, "majority": 0.5},
    ("vcc", "attention"): {"model": 0.75, "random_weights": 0.48, "chance": 0.125, "majority": 0.44, **ALONE},
    ("vcc", "embedding"): {"model": 0.93, "random_weights": 0.79, "chance": 0.125, "majority": 0.44, **ALONE},
}
"""Accuracies as the paper's claim has them."""

HALF_WIDTH = 0.02


def subject(probe: str = "vcd", prober: str = "attention", model: str = "uniter", **more: Any) -> Subject:
    """Return a cell's subject."""
    given = {"size": "tiny", "weights": f"{model}-1a2b3c4d", "dataset": "scenes", "seed": 0, **more}
    return Subject(model=model, probe=probe, prober=prober, **given)


def cell(whose: Subject, values: Mapping[str, float], half: float | None = HALF_WIDTH) -> list[Record]:
    """Return a cell's accuracies; of an embedding prober a layer each, the value of layer k higher by k / 1000."""
    stage, depth = DEPTHS[whose.model]
    layers = [None] if whose.prober == "attention" else range(depth + 1)
    rows = []
    for condition, value in values.items():
        is_known = condition in ("chance", "majority")
        for layer in [None] if is_known else layers:
            at_layer = value + (layer or 0) / 1000
            ends = {} if is_known or half is None else {"ci_low": at_layer - half, "ci_high": at_layer + half}
            place = {"stage": "" if layer is None else stage, "layer": layer}
            rows.append(Row(condition, "accuracy", at_layer, n=400, **place, **ends))
            seeds = [] if is_known else [(0, -0.01), (1, 0.01)]
            rows += [Row(condition, "accuracy", at_layer + by, n=400, **place, prober_seed=k) for k, by in seeds]
    return [Record.of(whose, row) for row in rows]


def table3(changes: Mapping[tuple[str, str], Mapping[str, float]] | None = None, **more: Any) -> list[Record]:
    """Return all eight cells; ``changes`` replaces values of a probe and prober, in both models."""
    return [
        record
        for (probe, prober), values in VALUES.items()
        for model in DEPTHS
        for record in cell(
            subject(probe, prober, model, **more), {**values, **(changes or {}).get((probe, prober), {})}
        )
    ]
