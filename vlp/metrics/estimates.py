"""Means over samples with their uncertainty, kept as exact sums and counts: the same on any number of processes."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from vlp.metrics.exact import NUM_PARTS, exact_parts, exact_sum

# Axes: B samples; whatever follows is the shape of one sample's value, one entry a layer say.

Z_95 = 1.959963984540054
"""Half the width of a 95 % normal interval, in standard errors."""


class Estimate(NamedTuple):
    """A mean over samples: ``value`` with its 95 % normal interval ``[low, high]``, all of one shape.

    ``n`` counts the samples that have a value, ``skipped`` those that have none. The interval is that of the mean over
    samples drawn like these; it is NaN below two samples, the value NaN without any.
    """

    value: Tensor
    low: Tensor
    high: Tensor
    n: Tensor
    skipped: Tensor


class SampleStatistic(Metric):
    """A quantity that each sample has, and whose mean over samples is reported.

    What the metric is called in results, its bounds, unit and direction are class attributes, from which figures take
    their axes. ``higher_is_better`` is None where neither direction is a merit.

    Args:
        shape: of one sample's value; ``()`` for a number, ``(L,)`` for one entry a layer.
    """

    is_differentiable = False
    full_state_update = False
    metric: ClassVar[str] = ""
    unit: ClassVar[str] = ""

    total: Tensor
    squares: Tensor
    count: Tensor
    skipped: Tensor

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.shape = tuple(shape)
        for name in ("total", "squares"):
            self.add_state(name, torch.zeros(*self.shape, NUM_PARTS, dtype=torch.long), dist_reduce_fx="sum")
        for name in ("count", "skipped"):
            self.add_state(name, torch.zeros(self.shape, dtype=torch.long), dist_reduce_fx="sum")

    def add(self, values: Tensor) -> None:
        """Take values (B, *shape) into the account; NaN says that a sample has none and is counted as skipped.

        Raises:
            ValueError: if the shape is another, or a value is infinite.
        """
        if values.shape[1:] != self.shape or values.dim() == 0:
            raise ValueError(f"values must have shape (B, *{self.shape}), got {tuple(values.shape)}")
        is_missing = values.isnan()
        known = values.detach().double().masked_fill(is_missing, 0)
        if not torch.isfinite(known).all():
            raise ValueError(f"{type(self).__name__} was given an infinite value")
        self.total = self.total + exact_parts(known).sum(0)
        self.squares = self.squares + exact_parts(known.square()).sum(0)
        self.count = self.count + (~is_missing).sum(0)
        self.skipped = self.skipped + is_missing.sum(0)

    def compute(self) -> Estimate:
        """Return the mean over all samples of all processes, with its interval."""
        n = self.count.double()
        value = exact_sum(self.total) / n.masked_fill(n == 0, torch.nan)
        variance = (exact_sum(self.squares) - n * value.square()).clamp(min=0) / (n - 1).masked_fill(n < 2, torch.nan)
        half = Z_95 * (variance / n).sqrt()
        return Estimate(value, value - half, value + half, self.count, self.skipped)

    def estimate(self) -> Estimate:
        """Return `compute` in the shape declared; torchmetrics drops the axes of a single entry."""
        return Estimate(*(part.reshape(self.shape) for part in self.compute()))


class SampleMean(SampleStatistic):
    """Mean over samples of values computed elsewhere.

    Example:
        >>> mean = SampleMean(shape=(2,))
        >>> mean.update(torch.tensor([[1.0, 4.0], [3.0, float("nan")]]))
        >>> mean.compute().value.tolist(), mean.compute().n.tolist()
        ([2.0, 4.0], [2, 1])
    """

    def update(self, values: Tensor) -> None:
        """Take values (B, *shape) into the account; NaN says that a sample has none."""
        self.add(values)
