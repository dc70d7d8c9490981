"""Mean and spread of the training items."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from vlp.probes.probers import Examples
from vlp.probes.probers.standardising import standardisation


def examples(inputs: torch.Tensor) -> Examples:
    return Examples(inputs, torch.zeros(len(inputs)).long())


def test_mean_and_spread_are_scikit_learns_in_one_pass_over_chunks():
    inputs = torch.randn(1000, 7) * torch.logspace(-4, 2, 7) + torch.linspace(-3, 3, 7)
    mean, scale = standardisation(examples(inputs), lambda rows: rows)
    theirs = StandardScaler().fit(inputs.double().numpy())
    np.testing.assert_allclose(mean, theirs.mean_, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(1 / scale, theirs.scale_, rtol=1e-4)


def test_a_constant_feature_is_not_blown_up():
    inputs = torch.stack([torch.full((600,), 0.1), torch.zeros(600), torch.full((600,), 3e8)], dim=1)
    mean, scale = standardisation(examples(inputs), lambda rows: rows)
    torch.testing.assert_close(mean, inputs[0])
    assert scale.tolist() == [1, 1, 1]


@pytest.mark.parametrize("only", [1e-40, 1e-20, 1e-7])
def test_a_feature_that_is_all_but_zero_is_not_blown_up(only: float):
    inputs = torch.zeros(600, 1)
    inputs[5] = only
    assert standardisation(examples(inputs), lambda rows: rows)[1].item() == 1


def test_an_item_that_is_no_number_is_named():
    inputs = torch.zeros(600, 2)
    inputs[300, 1] = torch.nan
    with pytest.raises(ValueError) as caught:
        standardisation(examples(inputs), lambda rows: rows)
    assert str(caught.value) == "item 300 of the training items holds NaN or infinite activations"
