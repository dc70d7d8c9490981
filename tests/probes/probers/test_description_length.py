"""Minimum description length."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from tests.probes.probers.examples import factory, thirds
from vlp.probes.probers import AttentionProber, EmbeddingProber, Examples
from vlp.probes.probers.description_length import block_ends, description_length

NUM_CLASSES = 4
LN2 = math.log(2)


def label(size: int) -> torch.Tensor:
    return torch.randint(0, NUM_CLASSES, (size,), generator=torch.Generator().manual_seed(0))


def test_blocks_end_at_the_papers_fractions():
    assert block_ends(1000) == [1, 2, 4, 8, 16, 32, 62, 125, 250, 500, 1000]
    assert block_ends(20) == [1, 2, 5, 10, 20]


def test_a_prober_that_never_learns_costs_the_uniform_code():
    train, val, _ = thirds(torch.rand(300, 2, 2, 2), label(300))
    found = description_length(factory(AttentionProber, lr=0.0, seeds=[0, 1], max_epochs=1), train, val, NUM_CLASSES)
    assert found.uniform_bits == pytest.approx(100 * 2)
    torch.testing.assert_close(found.bits, torch.full((1, 2), 200.0).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(found.compression, torch.ones(1, 2).double(), rtol=1e-6, atol=0)


def test_noise_compresses_nothing_and_a_copied_label_almost_all():
    labels = label(6000)
    states = torch.randn(6000, 2, 2, 8, generator=torch.Generator().manual_seed(1)) / 4
    states[:, 1, :, :NUM_CLASSES] += torch.nn.functional.one_hot(labels)[:, None]
    train, val, _ = thirds(states, labels)
    found = description_length(factory(EmbeddingProber, lr=1e-2), train, val, NUM_CLASSES)
    noise, copied = (found.bits[:, 0] / found.uniform_bits).tolist()
    assert 0.98 < noise < 1.1
    assert copied < 0.15


@pytest.mark.parametrize("signal", [0, 0.6])
def test_many_features_cost_what_they_cost_scikit_learns_logistic_regression(signal: float):
    """288 features of 1,700 items: who over-fits the early blocks pays for it. Its strength is chosen in validation."""
    generator = torch.Generator().manual_seed(0)
    attention = torch.rand(2000, 144, 1, 2, generator=generator)
    score = (attention.flatten(1) - 0.5) @ torch.randn(288, generator=generator)
    labels = (signal * score / score.std() + torch.randn(2000, generator=generator) > 0).long()
    everything = Examples(attention, labels)
    train, val = everything.select(torch.arange(1700)), everything.select(torch.arange(1700, 2000))
    bits = description_length(factory(AttentionProber), train, val, 2).bits.item()
    assert bits < 1.02 * 1700
    assert bits == pytest.approx(_regression_bits(train, val), rel=0.02)


def test_a_single_label_is_coded_uniformly_for_every_layer_and_seed():
    examples = Examples(torch.rand(1, 3, 2, 4), torch.ones(1).long())
    found = description_length(factory(EmbeddingProber, seeds=[0, 1]), examples, examples, NUM_CLASSES)
    torch.testing.assert_close(found.bits, torch.full((3, 2), 2.0).double())


def test_a_block_after_two_items_costs_no_more_than_chance():
    """Of features of two items some hardly differ: standardised by these, those to come are hundreds of spreads off."""
    states = torch.randn(400, 1, 2, 128, generator=torch.Generator().manual_seed(0))
    everything = Examples(states, torch.arange(400) % 2)
    train, val = everything.select(torch.arange(4)), everything.select(torch.arange(4, 400))
    found = description_length(factory(EmbeddingProber, seeds=[0, 1, 2]), train, val, 2)
    assert found.bits.mean() < 1.5 * found.uniform_bits


def _regression_bits(train: Examples, val: Examples) -> float:
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(train)))
    ends = block_ends(len(train))
    bits = float(ends[0])
    for start, end in itertools.pairwise(ends):
        parts = (train.select(order[:start]), train.select(order[start:end]), val)
        (seen, first), (coming, second), (others, third) = ((p.inputs[p.items].flatten(1), p.labels) for p in parts)
        if len(first.unique()) == 1:
            bits += end - start
            continue
        scaler = StandardScaler().fit(seen)
        fits = [LogisticRegression(C=10.0**power).fit(scaler.transform(seen), first) for power in range(-6, 1)]
        best = min(fits, key=lambda fit: log_loss(third, fit.predict_proba(scaler.transform(others))))
        bits += log_loss(second, best.predict_proba(scaler.transform(coming)), normalize=False, labels=[0, 1]) / LN2
    return bits


def test_the_order_of_the_labels_is_the_seeds():
    labels = (torch.arange(240) < 120).long()  # in file order, the first half would be coded by a prober of one class
    train, val, _ = thirds(torch.rand(240, 1, 2, 2), labels)
    first, second, again = (
        description_length(factory(AttentionProber, max_epochs=2), train, val, 2, seed).bits.item()
        for seed in (0, 1, 0)
    )
    assert first == again != second
    assert math.isclose(first, 80, rel_tol=0.15)
