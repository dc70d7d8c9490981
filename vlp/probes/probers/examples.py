"""What a prober learns from: rows of activations with labels, in memory or memory-mapped, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from vlp.probes.probers.settings import FitSettings

# Axes: N items, P prober seeds, B items of a batch.


class Rows(Protocol):
    """A tensor, an array, a memory map, or what stands for several: its first axis is taken by arrays of indices."""

    @property
    def shape(self) -> Sequence[int]:
        """Number of rows, then the shape of one."""

    def __getitem__(self, index: Any, /) -> Any:
        """Return the rows at ``index``, a copy in memory."""


class ProberBatch(NamedTuple):
    """Inputs (S, B, *item) and labels (S, B): S batches side by side, one a prober seed, or one that all share."""

    inputs: Tensor
    label: Tensor


@dataclass(frozen=True)
class Examples:
    """Items with labels.

    Args:
        inputs: (M, *item), of any floating-point type.
        label: (M,) long, from 0.
        items: (N,) long, which rows count, in what order; None for all of them.

    Raises:
        ValueError: if there is not one label a row, or no item.
    """

    inputs: Rows
    label: Tensor
    items: Tensor | None = None

    def __post_init__(self) -> None:
        """Check that inputs and labels belong together."""
        if self.label.shape != (self.inputs.shape[0],):
            found = f"{self.inputs.shape[0]} rows and labels of shape {tuple(self.label.shape)}"
            raise ValueError(f"a prober needs one label a row, got {found}")
        if not len(self):
            raise ValueError("a prober needs at least one item, got none")

    def __len__(self) -> int:
        """Return the number of items N."""
        return len(self.label if self.items is None else self.items)

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Return the shape of one item's input."""
        return tuple(self.inputs.shape[1:])

    @property
    def labels(self) -> Tensor:
        """Return the labels (N,) of the items."""
        return self.label if self.items is None else self.label[self.items]

    def select(self, places: Tensor) -> Examples:
        """Return the items at ``places`` (n,), each from 0 to N - 1."""
        return replace(self, items=places if self.items is None else self.items[places])

    def relabelled(self, label: Tensor) -> Examples:
        """Return the same items with other labels (M,)."""
        return replace(self, label=label)

    def take(self, places: Tensor) -> ProberBatch:
        """Return the items at ``places`` (S, B), inputs in single precision."""
        rows = places if self.items is None else self.items[places]
        return ProberBatch(torch.as_tensor(self.inputs[rows.numpy()]).float(), self.label[rows])

    def batches(self, batch_size: int) -> DataLoader[ProberBatch]:
        """Return every item once, in order, as batches (1, B) that all prober seeds share."""
        starts = range(0, len(self), batch_size)
        places = [torch.arange(start, min(start + batch_size, len(self)))[None] for start in starts]
        return DataLoader(_Taken(self), sampler=places, batch_size=None)

    def training_batches(self, settings: FitSettings, seed: int) -> DataLoader[ProberBatch]:
        """Return the items in a random order for each prober seed and epoch, as batches (P, B)."""
        return DataLoader(_Taken(self), sampler=FittingOrder(len(self), settings, seed), batch_size=None)


@dataclass
class FittingOrder(Sampler[Tensor]):
    """Places (P, B) of each training batch: an order of its own for every prober seed, drawn anew each epoch.

    An epoch goes through all items, several times where they are fewer than ``settings.min_batches`` batches. Its order
    depends on (seed, prober seed, epoch) alone, so that a prober sees the same batches whatever is fitted beside it.

    Args:
        size: number of items.
        settings: prober seeds and batch size.
        seed: of the probe.
    """

    size: int
    settings: FitSettings
    seed: int
    epoch: int = 0

    def __len__(self) -> int:
        """Return the number of batches an epoch has; the last one may be smaller."""
        return -(-self.size * self._passes // self._batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the batches of the epoch."""
        in_order = np.tile(np.arange(self.size), (self._passes, 1))
        drawn = (np.random.default_rng([self.seed, seed, self.epoch]) for seed in self.settings.seeds)
        orders = np.stack([generator.permuted(in_order, axis=1).ravel() for generator in drawn])
        return iter(torch.from_numpy(orders).split(self._batch_size, dim=1))

    def set_epoch(self, epoch: int) -> None:
        """Stand at the start of ``epoch``; the trainer calls this."""
        self.epoch = epoch

    @property
    def _batch_size(self) -> int:
        return min(self.settings.batch_size, self.size)

    @property
    def _passes(self) -> int:
        """Return how often an epoch goes through the items."""
        return -(-self.settings.min_batches * self._batch_size // self.size)


class _Taken(Dataset[ProberBatch]):
    """Batches of examples, addressed by their places."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __getitem__(self, places: Tensor) -> ProberBatch:
        return self.examples.take(places)
