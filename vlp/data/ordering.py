"""The order in which pairs are seen: a function of (seed, epoch) alone, in batches of like length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from torch.utils.data import Sampler

POOL = 32
"""Batches whose members are sorted by length together: enough to save most padding, few enough to stay random."""


@dataclass(frozen=True)
class Place:
    """Which pair (or group of pairs of one image) to prepare, in which epoch, for which objectives (empty: all)."""

    epoch: int
    index: int
    tasks: tuple[str, ...] = ()


@dataclass
class TrainingOrder(Sampler[list[Place]]):
    """Batches of places, shuffled anew each epoch; every process takes its share of the batches.

    An epoch holds the whole batches only, a number that all processes share equally. ``epoch`` and ``start`` are where
    iteration begins: after ``start`` batches of this process in ``epoch``. Iterating does not move them (a loader's
    workers run ahead of what has been trained on); `set_epoch` does.

    Args:
        size: number of pairs.
        batch_size: pairs a batch.
        seed: of the order.
        length: length of a pair's text in any unit, for bucketing; None to leave lengths mixed.
        tasks: with weights, one is drawn a step, the same for all processes (UNITER's sampling); without, every batch
            is for all objectives.
        batches_a_step: batches accumulated for one step of the optimiser.
        rank, world_size: this process and how many there are.

    Raises:
        ValueError: if there are fewer pairs than one batch a process needs.
    """

    size: int
    batch_size: int
    seed: int
    length: Callable[[int], int] | None = None
    tasks: dict[str, float] = field(default_factory=dict)
    batches_a_step: int = 1
    rank: int = 0
    world_size: int = 1
    epoch: int = 0
    start: int = 0

    def __post_init__(self) -> None:
        """Check the arguments."""
        if len(self) == 0:
            needed = f"batch_size={self.batch_size} on {self.world_size} processes"
            raise ValueError(f"{self.size} training pairs are fewer than one batch: {needed}")

    def __len__(self) -> int:
        """Return the number of batches an epoch has for this process."""
        return self.size // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[Place]]:
        """Yield the batches of the epoch from ``start`` on."""
        return iter(self.batches(self.epoch)[self.start :])

    def set_epoch(self, epoch: int) -> None:
        """Stand at the start of ``epoch``, or stay in it where it is the current one; the trainer calls this."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def batches(self, epoch: int) -> list[list[Place]]:
        """Return this process's batches of ``epoch``."""
        generator = np.random.default_rng([self.seed, epoch])
        count = len(self) * self.world_size
        order = generator.permutation(self.size)[: count * self.batch_size]
        if self.length is not None:
            order = self._bucketed(order)
        batches = order.reshape(count, self.batch_size)[generator.permutation(count)]
        tasks = self._draw_tasks(generator, len(self))
        mine = batches[self.rank :: self.world_size]
        return [[Place(epoch, int(i), task) for i in batch] for batch, task in zip(mine, tasks, strict=True)]

    @cached_property
    def _lengths(self) -> np.ndarray:
        """Length of every pair; a dataset may have to make its captions to tell, so it is asked once."""
        assert self.length is not None
        return np.fromiter(map(self.length, range(self.size)), dtype=np.int64, count=self.size)

    def _bucketed(self, order: np.ndarray) -> np.ndarray:
        pool = np.arange(len(order)) // (POOL * self.batch_size)
        return order[np.lexsort((self._lengths[order], pool))]

    def _draw_tasks(self, generator: np.random.Generator, count: int) -> Sequence[tuple[str, ...]]:
        if not self.tasks:
            return [()] * count
        names, weights = list(self.tasks), np.array(list(self.tasks.values()))
        num_steps = -(-count // self.batches_a_step)
        drawn = generator.choice(len(names), size=num_steps, p=weights / weights.sum())
        return [(names[drawn[batch // self.batches_a_step]],) for batch in range(count)]
