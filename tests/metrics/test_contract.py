"""Every metric of `vlp.metrics` keeps the contract, each against a referee that sees one sample at a time."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import ot
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor

from tests.metrics.contract import Case, Inputs, check, run_on_two_processes
from vlp import metrics
from vlp.metrics import InterModalityFlow, NormalizedMutualInformation, OptimalTransportDistance, SampleMean
from vlp.metrics.estimates import SampleStatistic
from vlp.metrics.transport import cosine_cost

# Axes: B samples, S tokens, D width.

BATCH_SIZES = (3, 5, 1, 4)


def batches(make: object) -> tuple[Inputs, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(make(size, generator) for size in BATCH_SIZES)


def lengths(size: int, longest: int, generator: torch.Generator) -> Tensor:
    """Return a mask (B, S) with padding at the end, one sample of a batch of several empty."""
    count = torch.randint(2, longest + 1, (size,), generator=generator)
    count[0] = 0 if size > 1 else longest
    return torch.arange(longest)[None] < count[:, None]


def clustered(size: int, generator: torch.Generator) -> Inputs:
    mask = torch.cat([lengths(size, 8, generator), torch.ones(size, 9, dtype=torch.bool)], 1)
    is_vision = (torch.arange(17) >= 8).expand(size, -1)
    side = (is_vision ^ (torch.rand(size, 17, generator=generator) < 0.2)).float()
    hidden = 40 * side[..., None] + torch.randn(size, 17, 6, generator=generator)
    return hidden, is_vision, mask


def nmi_of_one(hidden: Tensor, is_vision: Tensor, mask: Tensor) -> float:
    if is_vision[mask].all():
        return float("nan")
    clusters = KMeans(2, n_init=3, random_state=0).fit_predict(hidden[mask].numpy())
    return float(normalized_mutual_info_score(is_vision[mask].numpy(), clusters))


def attending(size: int, generator: torch.Generator) -> Inputs:
    mask = torch.cat([lengths(size, 4, generator), torch.ones(size, 5, dtype=torch.bool)], 1)
    scores = torch.randn(size, 3, 9, 9, generator=generator).double().masked_fill(~mask[:, None, None], -torch.inf)
    return scores.softmax(-1), (torch.arange(9) >= 4).expand(size, -1), mask


def flow_of_one(attention: Tensor, is_vision: Tensor, mask: Tensor) -> float:
    if is_vision[mask].all():
        return float("nan")
    kept = attention[:, mask][..., mask]
    path = torch.linalg.multi_dot([(torch.eye(len(kept[0])) + weights) / 2 for weights in kept.flip(0)])
    crosses = is_vision[mask][:, None] != is_vision[mask]
    return float(path[crosses].sum() / path.sum())


def moved(size: int, generator: torch.Generator) -> Inputs:
    x, y = (torch.randn(size, n, 4, generator=generator).double() for n in (5, 6))
    return x, y, lengths(size, 5, generator), torch.ones(size, 6, dtype=torch.bool)


def transport_of_one(x: Tensor, y: Tensor, x_mask: Tensor, y_mask: Tensor) -> float:
    if not x_mask.any():
        return float("nan")
    cost = cosine_cost(x[None, x_mask], y[None, y_mask])[0].numpy()
    return float(ot.emd2(ot.unif(cost.shape[0]), ot.unif(cost.shape[1]), cost))


CASES = [
    Case(NormalizedMutualInformation(), batches(clustered), nmi_of_one),
    Case(InterModalityFlow(), batches(attending), flow_of_one),
    Case(OptimalTransportDistance(iterations=500), batches(moved), transport_of_one, atol=5e-3),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: type(case.metric).__name__)
def test_metric_keeps_the_contract(case: Case):
    check(case)


def test_every_metric_has_a_case():
    exported = {value for value in vars(metrics).values() if isinstance(value, type)}
    declared = {kind for kind in exported if issubclass(kind, SampleStatistic) and kind.metric}
    assert declared == {type(case.metric) for case in CASES}
    assert not SampleMean.metric


def test_two_processes_give_what_one_gives(tmp_path: Path):
    run_on_two_processes(CASES, tmp_path)


@pytest.mark.parametrize("module", sorted(Path(metrics.__file__).parent.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_docstring_examples_run(module: Path):
    loaded = importlib.import_module(f"vlp.metrics.{module.stem}")
    assert doctest.testmod(loaded, raise_on_error=True).failed == 0
