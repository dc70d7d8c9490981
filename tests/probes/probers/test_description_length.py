"""Minimum description length."""

from __future__ import annotations

import math

import pytest
import torch

from tests.probes.probers.examples import factory, thirds
from vlp.probes.probers import AttentionProber, EmbeddingProber
from vlp.probes.probers.description_length import block_ends, description_length

NUM_CLASSES = 4


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


def test_the_order_of_the_labels_is_the_seeds():
    labels = (torch.arange(240) < 120).long()  # in file order, the first half would be coded by a prober of one class
    train, val, _ = thirds(torch.rand(240, 1, 2, 2), labels)
    first, second, again = (
        description_length(factory(AttentionProber, max_epochs=2), train, val, 2, seed).bits.item()
        for seed in (0, 1, 0)
    )
    assert first == again != second
    assert math.isclose(first, 80, rel_tol=0.15)
