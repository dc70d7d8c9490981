"""The embedding prober and its like on raw features and on one side."""

from __future__ import annotations

import torch

from tests.probes.probers.examples import factory, thirds
from vlp.probes.probers import EmbeddingProber, OneSidedProber, Prober, VisualFeaturesProber, fit
from vlp.probes.probers.one_sided import FIRST, SECOND


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def accuracy(prober: object, inputs: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    train, val, test = thirds(inputs, label)
    fitted = fit(prober, train, val, int(label.max()) + 1)
    return (fitted.predict(test).label == test.labels).double().mean(1)


def test_logits_are_equation_4():
    states = random(1, 4, 2, 2, 5)
    for bias in (False, True):
        prober = factory(EmbeddingProber, options={"bias": bias})(item_shape=(2, 2, 5), num_classes=3)
        logits = prober(states)
        for layer, pair, kind in [(0, 0, 0), (1, 3, 2)]:
            first, second = states[0, pair, layer]
            product = (prober.first[layer].T @ first + bias) * (prober.second[layer].T @ second + bias)
            torch.testing.assert_close(logits[layer, pair, kind], prober.classes[layer, :, kind] @ product)


def test_which_of_two_numbers_is_larger_takes_the_biases():
    states = random(6000, 1, 2, 8)
    label = (states[:, 0, 0, 0] > states[:, 0, 1, 0]).long()
    (printed,) = accuracy(factory(EmbeddingProber, lr=3e-3, options={"bias": False}), states, label)
    (ours,) = accuracy(factory(EmbeddingProber, lr=3e-3), states, label)
    assert printed < 0.6
    assert ours > 0.95


def test_biases_that_are_off_stay_off():
    train, val, _ = thirds(random(600, 1, 2, 8), torch.arange(600) % 2)
    prober = fit(factory(EmbeddingProber, options={"bias": False}), train, val, 2).prober
    assert not dict(prober.named_parameters())["biases"].any()


def test_the_layer_that_carries_a_relation_is_the_best_layer():
    states = random(6000, 4, 2, 8)
    relation = (states[:, 2, 0, :2] * states[:, 2, 1, :2]).sum(-1) > 0  # neither side tells it alone
    by_layer = accuracy(factory(EmbeddingProber, lr=3e-3), states, relation.long())
    assert by_layer.argmax() == 2
    assert by_layer[2] > 0.9
    assert (by_layer[[0, 1, 3]] < 0.56).all()


def test_raw_features_are_read_as_one_layer():
    features = random(6000, 2, 8)
    relation = (features[:, 0, 0] * features[:, 1, 0] > 0).long()
    (found,) = accuracy(factory(VisualFeaturesProber, lr=3e-3, options={"rank": 16}), features, relation)
    assert found > 0.9
    prober = factory(VisualFeaturesProber, options={"rank": 16})(item_shape=(2, 8), num_classes=2)
    assert prober.first.shape == (1, 8, 16)


def test_a_one_sided_prober_reads_its_side_only():
    states = random(6000, 2, 2, 8)
    label = (states[:, 1, SECOND, 3] > 0).long()
    blind = accuracy(factory(OneSidedProber, options={"side": FIRST}), states, label)
    seeing = accuracy(factory(OneSidedProber, options={"side": SECOND}), states, label)
    assert (blind < 0.55).all()
    assert seeing[0] < 0.55
    assert seeing[1] > 0.95


def test_each_prober_says_which_activations_it_reads():
    kinds: tuple[type[Prober], ...] = (EmbeddingProber, OneSidedProber, VisualFeaturesProber)
    assert [kind.reads for kind in kinds] == ["states", "states", "features"]
