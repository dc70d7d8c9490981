"""Where activations tell nothing, intervals say so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.probes.probers.examples import factory
from vlp.metrics.resampling import ClusteredBootstrap
from vlp.probes.probers import AttentionProber, Examples, fit

PER_IMAGE = 6


def unrelated(seed: int, images: int) -> tuple[Examples, list[str]]:
    """Return attention and labels that have nothing to do with each other, though both are alike within an image."""
    generator = np.random.default_rng([seed, images])
    of_image = generator.normal(size=(images, 1, 2, 2, 2)) + generator.normal(size=(images, PER_IMAGE, 2, 2, 2))
    label = generator.random((images, PER_IMAGE)) < generator.beta(1, 1, (images, 1))
    inputs = torch.from_numpy(of_image.reshape(-1, 2, 2, 2)).float()
    groups = [f"image-{item // PER_IMAGE}" for item in range(images * PER_IMAGE)]
    return Examples(inputs, torch.from_numpy(label.ravel()).long()), groups


@pytest.mark.slow
def test_over_200_null_data_sets_the_interval_of_accuracy_excludes_chance_in_at_most_8_percent():
    excluded = 0
    for seed in range(200):
        (train, _), (val, _), (test, groups) = (unrelated(seed, images) for images in (100, 50, 150))
        predicted = fit(factory(AttentionProber), train, val, 2, seed).predict(test).label[0]
        gain = ClusteredBootstrap(groups, seed=seed).mean((predicted == test.labels).double() - 0.5)
        excluded += bool(gain.low > 0 or gain.high < 0)
    assert excluded <= 0.08 * 200
