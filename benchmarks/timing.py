"""Timing contenders against each other in one process, so that what disturbs one disturbs all.

One thread; the order rotates from round to round. What counts is the ratio, as the median over rounds and between the
best rounds; where the two differ by more than 5 % the run was disturbed and says little.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

DISTURBED = 0.05

Contenders = Mapping[str, Callable[[], object]]
Times = dict[str, list[float]]


@dataclass(frozen=True)
class Ratio:
    """What one contender costs relative to another.

    ``median`` is over the rounds' own ratios, ``best`` is between the fastest round of each.
    """

    median: float
    best: float

    @property
    def is_disturbed(self) -> bool:
        """Whether the two figures differ by more than 5 %."""
        return abs(self.median / self.best - 1) > DISTURBED


def interleave(contenders: Contenders, rounds: int, clock: Callable[[], float] = time.process_time) -> Times:
    """Return the seconds each contender took in each round; each ran once before, unmeasured.

    The default clock counts the seconds this process computes, not those in which another has the processor.
    """
    for run in contenders.values():
        run()
    names = list(contenders)
    times: Times = {name: [] for name in names}
    for round_ in range(rounds):
        shift = round_ % len(names)
        for name in names[shift:] + names[:shift]:
            start = clock()
            contenders[name]()
            times[name].append(clock() - start)
    return times


def clock_of(device: str) -> Callable[[], float]:
    """Return the clock of what runs on ``device``: `interleave`'s own, or on a GPU one that waits for it."""
    return time.process_time if device == "cpu" else _when_done


def _when_done() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def batches_on(device: str) -> int:
    """Return how many times the batch a device gets: a GPU would else mostly wait to be told what to do."""
    return 1 if device == "cpu" else 8


def ratio(times: Times, ours: str, peer: str) -> Ratio:
    """Return what ``ours`` costs relative to ``peer``."""
    rounds = [a / b for a, b in zip(times[ours], times[peer], strict=True)]
    return Ratio(statistics.median(rounds), min(times[ours]) / min(times[peer]))
