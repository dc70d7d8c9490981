"""Sums that do not depend on the order of adding."""

from __future__ import annotations

import math

import pytest
import torch

from vlp.metrics.exact import exact_parts, exact_sum


def scattered(count: int) -> torch.Tensor:
    """Return numbers of both signs whose sizes differ by 50 orders of magnitude in two."""
    generator = torch.Generator().manual_seed(0)
    exponents = torch.randint(-40, 10, (count,), generator=generator)
    return torch.randn(count, generator=generator, dtype=torch.float64) * 2.0**exponents


@pytest.mark.parametrize("seed", range(5))
def test_no_order_and_no_division_changes_a_sum(seed: int):
    values = scattered(1000)
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(seed))
    shares = values[order].tensor_split([1 + 190 * seed, 1 + 200 * seed])
    total = sum(exact_parts(share).sum(0) for share in shares)
    assert torch.equal(total, exact_parts(values).sum(0))
    assert exact_sum(total).item() == math.fsum(values)


def test_naive_sums_depend_on_the_order():
    """Or else the test above would show nothing."""
    values = scattered(1000)
    assert len({values[torch.randperm(1000)].sum().item() for _ in range(20)}) > 1


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, math.pi, 1e28, -1e-12, 2.0**-96, 1 / 3])
def test_a_number_comes_back_as_it_was(value: float):
    assert exact_sum(exact_parts(torch.tensor(value, dtype=torch.float64))).item() == value


def test_what_is_smaller_than_the_smallest_digit_is_cut_off():
    assert exact_sum(exact_parts(torch.tensor([2.0**-97, -(2.0**-97)], dtype=torch.float64))).tolist() == [0, 0]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 2.0**96, -1e300])
def test_one_number_that_is_none_makes_the_sum_none(value: float):
    parts = exact_parts(torch.tensor([[1.0, value], [2.0, 3.0]], dtype=torch.float64)).sum(0)
    assert exact_sum(parts)[0].item() == 3
    assert exact_sum(parts)[1].isnan()


def test_numbers_keep_their_shape():
    values = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(exact_sum(exact_parts(values)), values.double())
