"""One fit of all layers and a fit a layer do the same work: checked at a small size."""

from __future__ import annotations

import torch

from benchmarks import probers


def test_both_find_the_layer_that_carries_the_label():
    train, val = probers.draw(5000, layers=2, width=16)
    assert (len(train), len(val)) == (4000, 1000)
    apart = probers.separate(train, val, epochs=15)
    fitted = probers.together(train, val, "32-true", epochs=15)
    joint = (fitted.predict(val).label == val.labels).double().mean(1)
    assert apart[1] > 0.8
    assert joint[1] > 0.8
    assert max(apart[0], joint[0].item()) < 0.6


def test_both_have_as_many_parameters_and_the_same_logits():
    fitted = probers.together(*probers.draw(40, layers=2, width=4), "32-true", epochs=1).prober
    theirs = probers.Bilinear(4)
    assert sum(each[0].numel() for each in fitted.parameters()) == sum(each.numel() for each in theirs.parameters())
    for ours, linear in zip((fitted.first, fitted.second, fitted.classes), theirs.children(), strict=True):
        linear.weight.data = ours.data[1].T
    theirs.first.bias.data, theirs.second.bias.data = fitted.biases.data[1]
    pair = torch.randn(1, 3, 2, 2, 4)
    standard = (pair[0, :, 1] - fitted.mean[1]) * fitted.scale[1]
    torch.testing.assert_close(fitted(pair)[1], theirs(*standard.unbind(1)))


def test_the_bootstrap_is_of_every_layer_and_image():
    interval = probers.bootstrap(300, 100)()
    assert interval.value.shape == (probers.LAYERS,)
    assert (interval.n, interval.n_groups) == (300, 100)
