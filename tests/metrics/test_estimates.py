"""Means over samples: value, interval, counts."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from scipy import stats

from vlp.metrics.estimates import SampleMean


def test_value_and_interval_worked_by_hand():
    mean = SampleMean()
    mean.update(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    estimate = mean.compute()
    half = 1.959963984540054 * np.sqrt(5 / 3) / 2  # variance 5/3, n 4
    assert estimate.value.item() == 2.5
    assert [estimate.low.item(), estimate.high.item()] == pytest.approx([2.5 - half, 2.5 + half], abs=1e-12)


def test_interval_is_scipys():
    values = torch.rand(50, 3, dtype=torch.float64)
    mean = SampleMean((3,))
    mean.update(values[:20])
    mean.update(values[20:])
    low, high = stats.norm.interval(0.95, loc=values.mean(0), scale=stats.sem(values.numpy()))
    np.testing.assert_allclose(mean.compute().low, low, atol=1e-12)
    np.testing.assert_allclose(mean.compute().high, high, atol=1e-12)


def test_the_interval_holds_the_true_mean_about_19_times_in_20():
    draws = torch.rand(2000, 40)
    mean = SampleMean((2000,))
    mean.update(draws.T)
    estimate = mean.compute()
    covered = (estimate.low <= 0.5) & (estimate.high >= 0.5)
    assert covered.double().mean().item() == pytest.approx(0.95, abs=0.02)


def test_missing_values_are_skipped_and_counted_entry_by_entry():
    nan = float("nan")
    mean = SampleMean((2,))
    mean.update(torch.tensor([[1.0, nan], [3.0, 5.0], [nan, nan]]))
    estimate = mean.compute()
    assert estimate.value.tolist() == [2.0, 5.0]
    assert estimate.n.tolist() == [2, 1]
    assert estimate.skipped.tolist() == [1, 2]
    assert estimate.low.isnan().tolist() == [False, True]


def test_no_value_at_all_is_no_number():
    mean = SampleMean()
    mean.update(torch.tensor([float("nan")]))
    estimate = mean.compute()
    assert estimate.value.isnan()
    assert estimate.n == 0


def test_small_differences_of_large_values_keep_their_interval():
    mean = SampleMean()
    mean.update(1e6 + torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))
    estimate = mean.compute()
    assert (estimate.high - estimate.value).item() == pytest.approx(1.959964 * np.sqrt(5 / 3) / 2, rel=1e-3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.zeros(4, 3), "values must have shape (B, *(2,)), got (4, 3)"),
        (torch.tensor([[1.0, torch.inf]]), "SampleMean was given an infinite value"),
    ],
)
def test_bad_values_are_named(values: torch.Tensor, message: str):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        SampleMean((2,)).update(values)
