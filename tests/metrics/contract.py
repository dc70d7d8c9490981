"""One contract for every metric: what it accumulates is its referee's mean over samples, however the samples come.

A `Case` names the metric, inputs and a referee that knows one sample at a time. `check` drives the metric per batch and
in total, in another order of batches, which changes no digit, pickled, cloned, reset and merged;
`run_on_two_processes` splits the batches.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vlp.metrics.estimates import Estimate, SampleStatistic

Inputs = tuple[Tensor, ...]
TIMEOUT = timedelta(seconds=60)


@dataclass(frozen=True)
class Case:
    """A metric with what referees it.

    ``batches`` are argument tuples for ``update``, first dimension = samples. ``referee`` takes the arguments of one
    sample, without that dimension, and returns its value, NaN for none. ``atol`` is the agreement asked for.
    """

    metric: SampleStatistic
    batches: tuple[Inputs, ...]
    referee: Callable[..., float]
    atol: float = 1e-6


def check(case: Case) -> None:
    """Hold a metric against its referee and against itself."""
    expected = [_referee_values(case, batch) for batch in case.batches]
    everything = torch.cat(expected)
    for batch, values in zip(case.batches, expected, strict=True):
        _assert_mean(_accumulate(case.metric, [batch]), values, case.atol)
    forth, back = (_accumulate(case.metric, batches) for batches in (case.batches, case.batches[::-1]))
    _assert_mean(forth, everything, case.atol)
    _assert_same(back.compute(), forth.compute())
    _assert_declares(case.metric, everything)
    _assert_copies(case)
    _assert_merges(case)


def _referee_values(case: Case, batch: Inputs) -> Tensor:
    samples = zip(*batch, strict=True)
    return torch.tensor([case.referee(*sample) for sample in samples], dtype=torch.float64)


def _accumulate(metric: SampleStatistic, batches: Sequence[Inputs]) -> SampleStatistic:
    """Return a copy of ``metric`` that saw ``batches`` and nothing else."""
    metric = metric.clone()
    metric.reset()
    for batch in batches:
        metric.update(*batch)
    return metric


def _assert_mean(metric: SampleStatistic, values: Tensor, atol: float) -> None:
    """The estimate is the values' mean, interval and counts."""
    known = values[~values.isnan()]
    estimate: Estimate = metric.compute()
    assert estimate.n.item() == len(known)
    assert estimate.skipped.item() == len(values) - len(known)
    assert estimate.value.item() == pytest.approx(known.mean().item(), abs=atol, nan_ok=True)
    if len(known) > 1:
        half = 1.959964 * known.std().item() / math.sqrt(len(known))
        assert estimate.high.item() - estimate.value.item() == pytest.approx(half, abs=2 * atol)
        assert estimate.value.item() - estimate.low.item() == pytest.approx(half, abs=2 * atol)


def _assert_declares(metric: SampleStatistic, values: Tensor) -> None:
    """Word, bounds, unit and direction are declared, and the values keep to the bounds."""
    assert metric.metric
    assert metric.unit is not None
    assert metric.higher_is_better in (None, True, False)
    lower, upper = metric.plot_lower_bound, metric.plot_upper_bound
    known = values[~values.isnan()]
    assert ((known >= lower) & (known <= upper)).all()


def _assert_copies(case: Case) -> None:
    """A pickled and a cloned metric go on where the original stood."""
    half = len(case.batches) // 2
    for copy in (lambda m: pickle.loads(pickle.dumps(m)), lambda m: m.clone()):
        metric = copy(_accumulate(case.metric, case.batches[:half]))
        for batch in case.batches[half:]:
            metric.update(*batch)
        _assert_same(metric.compute(), _accumulate(case.metric, case.batches).compute())
        metric.reset()
        assert metric.count.item() == 0


def _assert_merges(case: Case) -> None:
    """The states of two parts add up."""
    first, second = _accumulate(case.metric, case.batches[:1]), _accumulate(case.metric, case.batches[1:])
    first.merge_state(second)
    _assert_same(first.compute(), _accumulate(case.metric, case.batches).compute())


def _assert_same(first: Estimate, second: Estimate) -> None:
    """To the last digit."""
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def run_on_two_processes(cases: Sequence[Case], folder: Path) -> None:
    """Give every second batch to each of two processes, then the first one to the first process and none to the other.

    Both must compute what one process does.
    """
    # without the referees, whose libraries take long to load
    shared = [(case.metric, case.batches) for case in cases]
    torch.multiprocessing.spawn(_take_share, args=(shared, folder), nprocs=2)


def _take_share(rank: int, cases: list[tuple[SampleStatistic, tuple[Inputs, ...]]], folder: Path) -> None:
    torch.set_num_threads(1)
    shares = [(metric, batches) for metric, whole in cases for batches in (whole, whole[:1])]
    alone = [_accumulate(metric, batches).compute() for metric, batches in shares]
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2, timeout=TIMEOUT
    )
    for (metric, batches), expected in zip(shares, alone, strict=True):
        _assert_same(_accumulate(metric, batches[rank::2]).compute(), expected)
    torch.distributed.destroy_process_group()
