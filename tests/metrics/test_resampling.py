"""Clustered bootstrap and permutation test, beside scipy's and by simulation."""

from __future__ import annotations

import math
import resource

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, recall_score

from vlp.metrics.resampling import ClusteredBootstrap, Interval, permutation_p_value, tail

# Axes: N items, G predictions side by side.


def names(groups: np.ndarray | range) -> list[str]:
    return [f"image-{group}" for group in groups]


def ends(interval: Interval) -> list[float]:
    return [interval.low.item(), interval.high.item()]


def clustered(generator: np.random.Generator, images: int, per_image: int) -> tuple[torch.Tensor, list[str]]:
    """Answers of which those on one image are alike: right at a rate that is drawn for each image, 0.7 on average."""
    rate = generator.beta(1.4, 0.6, images).repeat(per_image)
    return torch.from_numpy(generator.random(images * per_image) < rate), names(np.arange(images).repeat(per_image))


def level(num_groups: int) -> float:
    """Return the level at which a percentile interval of few groups covers 95 %."""
    return 1 - 2 * tail(num_groups)


def test_an_interval_is_wider_the_fewer_groups_it_is_from():
    assert tail(10**7) == pytest.approx(0.025, rel=1e-5)
    assert tail(20) == pytest.approx(stats.norm.cdf(-2.093024 * 1.0259783))  # as tables print it


def test_without_clusters_the_interval_is_scipys_percentile_bootstrap():
    values = np.random.default_rng(0).gamma(2, size=60)
    ours = ClusteredBootstrap(names(range(60)), num_resamples=20000).mean(torch.from_numpy(values))
    settings = {"n_resamples": 20000, "method": "percentile", "confidence_level": level(60), "rng": 1}
    theirs = stats.bootstrap((values,), np.mean, **settings).confidence_interval
    assert ours.value.item() == pytest.approx(values.mean())
    assert ends(ours) == pytest.approx([theirs.low, theirs.high], abs=0.01)
    assert (ours.n, ours.n_groups) == (60, 60)


def test_with_clusters_it_is_scipys_bootstrap_of_a_ratio_of_sums():
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), generator.integers(1, 9, 30))
    values = generator.random(len(groups)) + groups % 2
    sums, sizes = np.bincount(groups, values), np.bincount(groups)
    ours = ClusteredBootstrap(names(groups), num_resamples=20000).mean(torch.from_numpy(values))
    theirs = stats.bootstrap(
        (sums, sizes),
        lambda a, b, axis=-1: a.sum(axis) / b.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=20000,
        method="percentile",
        confidence_level=level(30),
        rng=1,
    ).confidence_interval
    assert ends(ours) == pytest.approx([theirs.low, theirs.high], abs=0.01)
    assert ours.n_groups == 30


def coverage(groups_of: str, simulations: int = 400) -> float:
    """Return how often the interval holds the true 0.7."""
    generator = np.random.default_rng(0)
    hits = 0
    for seed in range(simulations):
        is_right, images = clustered(generator, 120, 12)
        groups = images if groups_of == "image" else names(range(len(images)))
        low, high = ends(ClusteredBootstrap(groups, seed=seed).mean(is_right))
        hits += low <= 0.7 <= high
    return hits / simulations


@pytest.mark.slow
def test_an_interval_by_image_covers_what_it_says_and_one_by_row_does_not():
    assert 0.925 <= coverage("image") <= 0.975
    assert coverage("row") < 0.75


def test_the_order_of_items_changes_nothing():
    is_right, images = clustered(np.random.default_rng(0), 20, 5)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    forth = ClusteredBootstrap(images, seed=3).mean(is_right)
    back = ClusteredBootstrap([images[place] for place in order], seed=3).mean(is_right[order])
    assert [forth.value.item(), *ends(forth)] == [back.value.item(), *ends(back)]
    assert ends(ClusteredBootstrap(images, seed=4).mean(is_right)) != ends(forth)


def test_predictions_side_by_side_are_each_as_alone():
    generator = torch.Generator().manual_seed(0)
    is_right, label = torch.rand(2, 3, 90, generator=generator) < 0.6, torch.arange(90) % 4
    bootstrap = ClusteredBootstrap(names(np.arange(90) // 5))
    for several, of_one in (
        (bootstrap.mean(is_right), lambda each: bootstrap.mean(each)),
        (bootstrap.balanced_accuracy(is_right, label, 4), lambda each: bootstrap.balanced_accuracy(each, label, 4)),
        (bootstrap.recall(is_right, label, 4), lambda each: bootstrap.recall(each, label, 4)),
    ):
        for part, alone in zip(several[:3], of_one(is_right[1, 2])[:3], strict=True):
            torch.testing.assert_close(part[1, 2], alone)


def test_recall_and_balanced_accuracy_are_scikit_learns():
    generator = np.random.default_rng(0)
    label, predicted = generator.integers(0, 3, 200), generator.integers(0, 3, 200)
    bootstrap = ClusteredBootstrap(names(np.arange(200) // 4))
    correct, asked = torch.from_numpy(label == predicted), (torch.from_numpy(label), 4)
    recall, balanced = bootstrap.recall(correct, *asked), bootstrap.balanced_accuracy(correct, *asked)
    np.testing.assert_allclose(recall.value[:3], recall_score(label, predicted, average=None))
    assert math.isnan(recall.value[3])  # of the fourth class there is no item
    assert balanced.value.item() == pytest.approx(balanced_accuracy_score(label, predicted))
    assert balanced.low < balanced.value < balanced.high


def test_the_resamples_of_balanced_accuracy_are_scikit_learns_on_drawn_items():
    label, correct = torch.tensor([0, 0, 1, 1, 2, 0]), torch.tensor([1, 0, 1, 1, 0, 1])
    groups = np.array([0, 0, 1, 1, 2, 3])
    bootstrap = ClusteredBootstrap(names(groups), seed=5)
    drawn = np.random.default_rng(5).integers(4, size=(1000, 4))
    values = []
    for chosen in drawn:
        items = np.concatenate([np.flatnonzero(groups == group) for group in chosen])
        right = correct[items].numpy()
        values.append(np.mean([right[label[items] == kind].mean() for kind in np.unique(label[items])]))
    found = bootstrap.balanced_accuracy(correct, label, 3)
    assert ends(found) == pytest.approx(np.quantile(values, [tail(4), 1 - tail(4)]).tolist())


def test_a_paired_difference_is_narrower_than_two_intervals_say():
    generator = np.random.default_rng(0)
    weaker, images = clustered(generator, 100, 10)
    stronger = weaker | torch.from_numpy(generator.random(1000) < 0.1)
    bootstrap = ClusteredBootstrap(images)
    gain = bootstrap.mean(stronger.double() - weaker.double())
    assert gain.low > 0
    assert bootstrap.mean(stronger).low < bootstrap.mean(weaker).high
    both = bootstrap.balanced_difference(stronger, weaker, torch.zeros(1000).long(), 1)
    torch.testing.assert_close(torch.stack(both[:3]), torch.stack(gain[:3]))


def test_no_tensor_of_resamples_times_items_is_made():
    """Of a million items in ten groups only sums are resampled: 8 GB less."""
    groups, values = names(np.arange(1_000_000) % 10), torch.arange(1_000_000) % 10
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = ClusteredBootstrap(groups).mean(values)
    assert found.value.item() == 4.5
    assert found.low < 4.5 < found.high
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # in kB, on Linux


def test_exact_p_values_are_scipys():
    generator = np.random.default_rng(0)
    first, second = generator.random((2, 8)) + np.array([[0.3], [0.0]])
    theirs = stats.permutation_test(
        (first, second), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    ours = permutation_p_value(torch.from_numpy(first), torch.from_numpy(second), names(range(8)))
    assert ours.item() == pytest.approx(theirs.pvalue)


def test_random_flips_come_close_to_scipys_p_value():
    generator = np.random.default_rng(0)
    first, second = generator.random((2, 40)) + np.array([[0.1], [0.0]])
    theirs = stats.permutation_test(
        (first, second), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=9999, rng=1
    )
    ours = permutation_p_value(torch.from_numpy(first), torch.from_numpy(second), names(range(40)))
    assert ours.item() == pytest.approx(theirs.pvalue, abs=0.015)


def test_items_of_one_image_are_exchanged_together():
    """Ten items of one image that all favour one model are one observation, not ten."""
    better = torch.ones(20).double()
    groups = names(np.arange(20) // 10)
    assert permutation_p_value(better, torch.zeros(20), groups).item() == 0.5  # two of four ways to flip two signs
    assert permutation_p_value(better, torch.zeros(20), names(range(20))).item() == 1e-4  # in double precision


@pytest.mark.parametrize(
    ("groups", "resamples", "message"),
    [
        (["a", "a"], 1000, "2 items of 1 group say nothing of other groups: expected 2"),
        (["a", "b"], 999, "an interval needs at least 1,000 resamples, got num_resamples=999"),
    ],
)
def test_what_gives_no_interval_is_refused(groups: list[str], resamples: int, message: str):
    with pytest.raises(ValueError) as caught:
        ClusteredBootstrap(groups, resamples)
    assert str(caught.value) == message
