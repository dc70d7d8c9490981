"""The attention prober, beside scikit-learn's logistic regression."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tests.probes.probers.examples import factory, thirds
from vlp.probes.probers import AttentionProber, fit


def test_finds_the_head_that_carries_the_label():
    label = torch.randint(0, 2, (3000,), generator=torch.Generator().manual_seed(0))
    attention = torch.rand(3000, 2, 4, 2, generator=torch.Generator().manual_seed(1)) / 30
    attention[:, 1, 3, 0] = label / 30  # one head of eight knows; the others are noise
    train, val, test = thirds(attention, label)
    assert (fit(factory(AttentionProber), train, val, 2).predict(test).label == test.labels).all()


@pytest.mark.parametrize("num_classes", [2, 5])
def test_its_accuracy_is_that_of_scikit_learns_logistic_regression(num_classes: int):
    generator = torch.Generator().manual_seed(num_classes)
    attention = torch.rand(9000, 2, 3, 2, generator=generator).square() / 20
    attention[:, 1] += 0.7 * attention[:, 0]  # heads resemble each other
    weights = torch.randn(12, num_classes, generator=generator)
    noise = torch.randn(9000, num_classes, generator=generator)
    label = (40 * attention.flatten(1) @ weights + noise).argmax(-1)
    train, val, test = thirds(attention, label)
    ours = fit(factory(AttentionProber), train, val, num_classes).predict(test).label == test.labels
    scaler = StandardScaler()
    features = scaler.fit_transform(attention[train.items].flatten(1))
    theirs = LogisticRegression(max_iter=1000).fit(features, train.labels)
    accuracy = theirs.score(scaler.transform(attention[test.items].flatten(1)), test.labels)
    assert ours.double().mean().item() == pytest.approx(accuracy, abs=0.005)
    assert accuracy > 1.3 / num_classes


def test_reads_both_directions_of_every_head():
    prober = factory(AttentionProber)(item_shape=(3, 4, 2), num_classes=5)
    assert prober.weight.shape == (1, 24, 5)
    torch.testing.assert_close(prober.arrange(torch.arange(24.0).view(1, 3, 4, 2)), torch.arange(24.0).view(1, 1, 24))


def test_fewer_than_two_classes_are_refused():
    with pytest.raises(ValueError) as caught:
        factory(AttentionProber)(item_shape=(3, 4, 2), num_classes=1)
    assert str(caught.value) == "a prober needs at least 2 classes, got num_classes=1"
