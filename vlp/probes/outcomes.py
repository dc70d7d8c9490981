"""From what probers answered to rows: beside chance and the majority class, with intervals clustered by image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vlp.metrics.resampling import ClusteredBootstrap, Interval, permutation_p_value
from vlp.probes.items import PairItems
from vlp.results import Row

# Axes: L layers, P prober seeds, N test items, C classes.

MODEL, UNTRAINED, CONTROL_TASK, SHUFFLED = "model", "random_weights", "control_task", "shuffled"

WITH_RECALL = (MODEL, UNTRAINED)
"""Conditions that have a row a class."""


@dataclass(frozen=True)
class Outcome:
    """What a condition's probers answered to the test items.

    Args:
        condition: the word of the column.
        layers: fields of a row that say which layer each is; ``[{}]`` for a prober without layers.
        predicted: (L, P, N) long.
        label: (N,) long, what was asked.
        bits: (L, P) the description length of the training labels, None where it was not measured.
    """

    condition: str
    layers: Sequence[Mapping[str, Any]]
    predicted: Tensor
    label: Tensor
    bits: Tensor | None = None

    @property
    def is_correct(self) -> Tensor:
        """(L, P, N) whether the answer is right, as a number."""
        return (self.predicted == self.label).double()


class Statistics:
    """Makes rows of outcomes on the same test items.

    Args:
        items: the test items.
        prober_seeds: of the P probers.
        train_label: the labels trained on.
        resamples: of the bootstrap.
        seed: of the resamples.
    """

    def __init__(
        self, items: PairItems, train_label: Tensor, prober_seeds: Sequence[int], resamples: int, seed: int
    ) -> None:
        self.items, self.classes = items, items.classes
        self.train_label = train_label
        self.prober_seeds = tuple(prober_seeds)
        self.seed = seed
        self.bootstrap = ClusteredBootstrap(items.group, resamples, seed)

    def trivial_rows(self) -> list[Row]:
        """Return the rows of guessing and of the class most frequent in training."""
        count, label = len(self.classes), self.items.label
        chance = [Row("chance", metric, 1 / count, len(label)) for metric in ("accuracy", "balanced_accuracy")]
        most = int(torch.bincount(self.train_label, minlength=count).argmax())
        is_right = (label == most).double()
        interval = self.bootstrap.mean(is_right)
        present = len(label.unique())
        uniform = len(self.train_label) * math.log2(count)
        return [
            *chance,
            Row("chance", "description_length", uniform, len(self.train_label)),
            _row("majority", "accuracy", interval),
            Row("majority", "balanced_accuracy", float(bool(is_right.any())) / present, len(label)),
        ]

    def rows(self, outcome: Outcome) -> list[Row]:
        """Return the rows of a condition: the mean over prober seeds first, then each seed's."""
        right = outcome.is_correct
        with_mean = torch.cat([right.mean(1, keepdim=True), right], 1)  # (L, 1 + P, N)
        asked = outcome.label, len(self.classes)
        found = {
            "accuracy": self.bootstrap.mean(with_mean),
            "balanced_accuracy": self.bootstrap.balanced_accuracy(with_mean, *asked),
        }
        rows = [row for metric, interval in found.items() for row in self._by_place(outcome, metric, interval)]
        if outcome.condition in WITH_RECALL:
            rows += self._recalls(outcome, self.bootstrap.recall(with_mean[:, 0], *asked))
        if outcome.bits is not None:
            rows += self._lengths(outcome, outcome.bits)
        return rows

    def differences(self, outcomes: Mapping[str, Outcome]) -> list[Row]:
        """Return what the measurement is above other conditions, item by item.

        ``selectivity`` is the accuracy above that in the control task; ``accuracy_gain`` that above another condition,
        whose name stands in ``parameter``, and ``p_value`` says how likely as large a gain would be between equals
        (permutation test). A condition without layers is compared with every layer.
        """
        if MODEL not in outcomes:
            return []
        others = (other for name, other in outcomes.items() if name not in (MODEL, SHUFFLED))
        return [row for other in others for row in self._gain(outcomes[MODEL], other)]

    def _gain(self, model: Outcome, other: Outcome) -> list[Row]:
        difference = model.is_correct - other.is_correct
        interval = self.bootstrap.mean(torch.cat([difference.mean(1, keepdim=True), difference], 1))
        if other.condition == CONTROL_TASK:
            return list(self._by_place(model, "selectivity", interval))
        gains = self._by_place(model, "accuracy_gain", interval)
        return [replace(row, parameter=f"over={other.condition}") for row in (*gains, *self._p_values(model, other))]

    def _p_values(self, model: Outcome, other: Outcome) -> list[Row]:
        """Return how likely a difference of the means over seeds is at least as large, if neither were the better."""
        ours, theirs = (each.is_correct.mean(1).expand(len(model.layers), -1) for each in (model, other))
        values = permutation_p_value(ours, theirs, self.items.group, seed=self.seed).tolist()
        n = len(self.items)
        return [Row(MODEL, "p_value", value, n, **layer) for layer, value in zip(model.layers, values, strict=True)]

    def _by_place(self, outcome: Outcome, metric: str, interval: Interval) -> Iterator[Row]:
        """Yield rows for the mean and each seed (L, 1 + P) of every layer."""
        for at, layer in enumerate(outcome.layers):
            for place, prober_seed in enumerate((None, *self.prober_seeds)):
                yield _row(outcome.condition, metric, interval, (at, place), prober_seed=prober_seed, **layer)

    def _recalls(self, outcome: Outcome, interval: Interval) -> list[Row]:
        """Return rows of the mean over seeds (L, C), a class without test items left out."""
        count = torch.bincount(outcome.label, minlength=len(self.classes)).tolist()
        return [
            replace(_row(outcome.condition, "recall", interval, (at, place), label=name, **layer), n=count[place])
            for at, layer in enumerate(outcome.layers)
            for place, name in enumerate(self.classes)
            if count[place]
        ]

    def _lengths(self, outcome: Outcome, bits: Tensor) -> list[Row]:
        """Return the description length of the training labels; an interval there is none of."""
        with_mean = torch.cat([bits.mean(1, keepdim=True), bits], 1)
        n = len(self.train_label)
        return [
            Row(outcome.condition, "description_length", float(value), n, prober_seed=seed, **layer)
            for layer, values in zip(outcome.layers, with_mean, strict=True)
            for seed, value in zip((None, *self.prober_seeds), values.tolist(), strict=True)
        ]


def _row(condition: str, metric: str, interval: Interval, index: tuple[int, ...] = (), **columns: Any) -> Row:
    value, low, high = (float(part[index]) for part in interval[:3])
    return Row(condition, metric, value, interval.n, ci_low=low, ci_high=high, **columns)
