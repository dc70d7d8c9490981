"""How far a number would have been another had other images been drawn: the bootstrap and the permutation test.

Items of one image are alike, so images are resampled, with all their items: resampling items covers 70 % where it says
95 %. Nothing of the size resamples x items is ever made: only sums per image, and how often each image is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import ndtr, stdtrit
from torch import Tensor

# Axes: N items, K groups (images), R resamples, C classes; what precedes N is any number of predictions side by side.

CHUNK_NUMBERS = 1 << 22
"""Counts or signs held at a time."""

LEAST_RESAMPLES = 1000
"""For the ends of a 95 % interval: fewer leave under 25 resamples beyond each."""


class Interval(NamedTuple):
    """A number with its 95 % interval ``[low, high]``, all of one shape, from n items of n_groups groups."""

    value: Tensor
    low: Tensor
    high: Tensor
    n: int
    n_groups: int


class ClusteredBootstrap:
    """Resamples groups of items: intervals for what a classifier scored on them.

    All intervals of one instance come from the same resamples, which depend on the seed and the groups' names but not
    on the order of items. Intervals are percentiles of the resamples, widened for few groups as `tail` says.

    Args:
        groups: (N) names, such as the image of each item.
        num_resamples: R, at least 1,000.
        seed: of the resamples.

    Raises:
        ValueError: if there are fewer resamples, or fewer than two groups.

    Example:
        >>> bootstrap = ClusteredBootstrap(["a", "a", "b", "c"])
        >>> interval = bootstrap.mean(torch.tensor([1.0, 1.0, 0.0, 1.0]))
        >>> interval.value.item(), interval.low.item(), interval.high.item(), interval.n_groups
        (0.75, 0.0, 1.0, 3)
    """

    def __init__(self, groups: Sequence[str], num_resamples: int = LEAST_RESAMPLES, seed: int = 0) -> None:
        if num_resamples < LEAST_RESAMPLES:
            raise ValueError(
                f"an interval needs at least {LEAST_RESAMPLES:,} resamples, got num_resamples={num_resamples}"
            )
        self.group = group_indices(groups)
        self.sizes = torch.bincount(self.group).double()
        self.num_resamples, self.seed = num_resamples, seed
        if len(self.sizes) < 2:
            raise ValueError(f"{len(groups)} items of {len(self.sizes)} group say nothing of other groups: expected 2")

    def mean(self, values: Tensor) -> Interval:
        """Return the mean over items of values (..., N): an accuracy, or a paired difference of two."""
        sums = _summed(values, self.group, len(self.sizes))
        drawn = torch.cat([counts @ sums.T / (counts @ self.sizes)[:, None] for counts in self._counts()])
        return self._interval(values.double().mean(-1), drawn.T.reshape(*values.shape[:-1], -1))

    def recall(self, is_correct: Tensor, label: Tensor, num_classes: int) -> Interval:
        """Return the accuracy of each class's items, (..., C), NaN for a class without any.

        Args:
            is_correct: (..., N), a fraction where it is a mean over prober seeds.
            label: (N,) long, the true classes.
            num_classes: C.
        """
        value, drawn = self._recalls(is_correct, label, num_classes)
        return self._interval(value, drawn)

    def balanced_accuracy(self, is_correct: Tensor, label: Tensor, num_classes: int) -> Interval:
        """Return the mean of the classes' recalls, of those that have items; arguments as of `recall`."""
        value, drawn = self._recalls(is_correct, label, num_classes)
        return self._interval(value.nanmean(-1), drawn.nanmean(-2))

    def balanced_difference(self, first: Tensor, second: Tensor, label: Tensor, num_classes: int) -> Interval:
        """Return by how much the first's balanced accuracy is higher, on the same resamples of the same items."""
        both = [self._recalls(is_correct, label, num_classes) for is_correct in (first, second)]
        value, drawn = (a - b for a, b in zip(*both, strict=True))
        return self._interval(value.nanmean(-1), drawn.nanmean(-2))

    def _recalls(self, is_correct: Tensor, label: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
        """Return the classes' recalls (..., C), and those of each resample (..., C, R)."""
        cell = self.group * num_classes + label
        hits = _summed(is_correct, cell, len(self.sizes) * num_classes).unflatten(-1, (-1, num_classes))  # (X, K, C)
        items = torch.bincount(cell, minlength=len(self.sizes) * num_classes).view(-1, num_classes).double()
        by_group = hits.transpose(0, 1).flatten(1)
        drawn = [
            (counts @ by_group).unflatten(1, (-1, num_classes)) / (counts @ items)[:, None] for counts in self._counts()
        ]
        shape = is_correct.shape[:-1]
        return (hits.sum(1) / items.sum(0)).view(*shape, -1), torch.cat(drawn).movedim(0, -1).reshape(
            *shape, num_classes, -1
        )

    def _counts(self) -> Iterator[Tensor]:
        """Yield (r, K) in double precision: how often each group is drawn, resample by resample, in chunks."""
        generator, size = np.random.default_rng(self.seed), len(self.sizes)
        rows = max(1, CHUNK_NUMBERS // size)
        for start in range(0, self.num_resamples, rows):
            count = min(rows, self.num_resamples - start)
            drawn = generator.integers(size, size=(count, size)) + size * np.arange(count)[:, None]
            yield torch.from_numpy(np.bincount(drawn.ravel(), minlength=count * size)).view(count, size).double()

    def _interval(self, value: Tensor, drawn: Tensor) -> Interval:
        left_out = tail(len(self.sizes))
        ends = torch.tensor([left_out, 1 - left_out], dtype=torch.float64)
        low, high = torch.nanquantile(drawn, ends, dim=-1)
        return Interval(value, low, high, len(self.group), len(self.sizes))


def permutation_p_value(
    first: Tensor, second: Tensor, groups: Sequence[str], num_resamples: int = 9999, seed: int = 0
) -> Tensor:
    """Return the two-sided p value (...) of two models' mean difference on the same items.

    Were the models alike, each image could as well have come with the two exchanged; so signs of whole groups are
    flipped, all ways there are if these are no more than ``num_resamples``, else as many at random.

    Args:
        first: what one model scored, (..., N).
        second: what the other scored on the same items.
        groups: (N) names, such as the image of each item.
        num_resamples: random flips; the smallest p value is one over one more than these.
        seed: of the flips.
    """
    group = group_indices(groups)
    sums = _summed(first.double() - second.double(), group, int(group.max()) + 1)  # (X, K)
    least = sums.sum(1).abs() * (1 - 1e-9)  # ties must not be lost to rounding
    is_exact = 2 ** min(sums.shape[1], 62) <= num_resamples
    signs = _every_sign(sums.shape[1]) if is_exact else _random_signs(sums.shape[1], num_resamples, seed)
    extreme = torch.stack([((chunk @ sums.T).abs() >= least).sum(0) for chunk in signs]).sum(0).double()
    p_value = extreme / 2 ** sums.shape[1] if is_exact else (extreme + 1) / (num_resamples + 1)
    return p_value.view(first.shape[:-1])


def tail(num_groups: int) -> float:
    """Return the part of the resamples that a 95 % interval leaves out at each end: 0.025 for many groups.

    Resamples of K groups vary by (K - 1) / K less than groups do, and as if that were known exactly. After Hesterberg,
    "What Teachers Should Know About the Bootstrap", 2015 (expanded percentile): the normal tail beyond
    sqrt(K / (K - 1)) times Student's quantile.
    """
    return float(ndtr(-math.sqrt(num_groups / (num_groups - 1)) * stdtrit(num_groups - 1, 0.975)))


def group_indices(groups: Sequence[str]) -> Tensor:
    """Return (N,) long: the place of each item's group among the sorted names."""
    places = {name: place for place, name in enumerate(sorted(set(groups)))}
    return torch.tensor([places[name] for name in groups])


def _summed(values: Tensor, cell: Tensor, num_cells: int) -> Tensor:
    """Return the sums of values (..., N) over the items of each cell, (X, cells), in double precision."""
    flat = values.double().reshape(-1, values.shape[-1])
    return flat.new_zeros(len(flat), num_cells).index_add_(1, cell, flat)


def _every_sign(size: int) -> Iterator[Tensor]:
    flips = torch.arange(2**size)[:, None] >> torch.arange(size)
    yield 1.0 - 2.0 * (flips & 1).double()


def _random_signs(size: int, num_resamples: int, seed: int) -> Iterator[Tensor]:
    generator = np.random.default_rng(seed)
    rows = max(1, CHUNK_NUMBERS // size)
    for start in range(0, num_resamples, rows):
        flips = generator.integers(2, size=(min(rows, num_resamples - start), size), dtype=np.int8)
        yield 1.0 - 2.0 * torch.from_numpy(flips).double()
