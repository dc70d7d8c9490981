"""Normalised mutual information against scikit-learn, and its properties."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor

from vlp.metrics.nmi import (
    centred_gram,
    label_agreement,
    lloyd,
    normalized_mutual_information,
    two_means,
)

# Axes: B samples, S tokens, D width.

NUM_TEXT = 12


def states(
    distance: float, num_samples: int = 24, num_tokens: int = 40, width: int = 32, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Return states whose modalities lie ``distance`` standard deviations apart, which are visual, and a full mask."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(num_samples, num_tokens, width, generator=generator)
    hidden[:, NUM_TEXT:] += distance * torch.nn.functional.normalize(
        torch.randn(num_samples, 1, width, generator=generator), dim=-1
    )
    is_vision = (torch.arange(num_tokens) >= NUM_TEXT).expand(num_samples, -1)
    return hidden, is_vision, torch.ones(num_samples, num_tokens, dtype=torch.bool)


def sklearn_clusters(hidden: Tensor, seed: int) -> list[KMeans]:
    return [KMeans(2, n_init=10, random_state=seed).fit(sample.numpy()) for sample in hidden]


def sklearn_nmi(labels: list[np.ndarray], is_vision: Tensor) -> np.ndarray:
    return np.array([normalized_mutual_info_score(v.numpy(), c) for v, c in zip(is_vision, labels, strict=True)])


def test_separated_modalities_give_one():
    assert normalized_mutual_information(*states(distance=50.0)).tolist() == [1.0] * 24


def test_clusters_across_modalities_give_zero():
    hidden = torch.tensor([[[0.0], [9.0], [0.0], [9.0]]])
    is_vision = torch.tensor([[False, False, True, True]])
    assert normalized_mutual_information(hidden, is_vision, torch.ones(1, 4, dtype=torch.bool)).item() == 0.0


def test_a_value_worked_by_hand():
    # Three text, three visual tokens; one visual token lies with the text: counts 3, 1 | 0, 2 of 6.
    hidden = torch.tensor([[[0.0], [0.1], [0.2], [0.1], [9.0], [9.1]]])
    is_vision = torch.arange(6)[None] >= 3
    information = 1 / 2 * np.log(3 / 2) + 1 / 6 * np.log(1 / 2) + 1 / 3 * np.log(2)
    entropies = np.log(2) - (2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    value = normalized_mutual_information(hidden, is_vision, torch.ones(1, 6, dtype=torch.bool))
    assert value.item() == pytest.approx(2 * information / entropies, abs=1e-12)


def test_equal_labels_give_scikit_learns_value():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 500, 37, generator=generator) < torch.rand(2, 500, 1, generator=generator)
    ours = label_agreement(first, second, torch.ones_like(first))
    theirs = sklearn_nmi([row.numpy() for row in first], second)
    assert np.abs(ours.numpy() - theirs).max() <= 1e-12


def test_labels_are_symmetric_and_unmoved_by_swapping_a_cluster():
    generator = torch.Generator().manual_seed(1)
    first, second = torch.rand(2, 50, 20, generator=generator) < 0.4
    mask = torch.rand(50, 20, generator=generator) < 0.8
    value = label_agreement(first, second, mask)
    torch.testing.assert_close(label_agreement(second, first, mask), value, atol=1e-12, rtol=0)
    torch.testing.assert_close(label_agreement(~first, second, mask), value, atol=1e-12, rtol=0)


@pytest.mark.parametrize("distance", [0.0, 2.0, 8.0])
def test_the_same_starts_give_scikit_learns_labels(distance: float):
    hidden, _, mask = states(distance)
    starts = torch.stack([torch.randperm(40, generator=torch.Generator().manual_seed(i))[:2] for i in range(24)])
    labels, inertia = lloyd(centred_gram(hidden, mask)[0], mask, starts[:, None])
    theirs = [
        KMeans(2, init=sample[start].numpy(), n_init=1, tol=0).fit(sample.numpy())
        for sample, start in zip(hidden, starts, strict=True)
    ]
    assert (labels[:, 0].numpy() == np.stack([fit.labels_ for fit in theirs])).all()
    np.testing.assert_allclose(inertia[:, 0], [fit.inertia_ for fit in theirs], rtol=1e-5)


@pytest.mark.parametrize("distance", [0.0, 3.0, 5.0, 7.0, 50.0])
def test_restarts_differ_from_scikit_learn_no_more_than_it_does_from_itself(distance: float):
    hidden, is_vision, mask = states(distance)
    ours, clusters = normalized_mutual_information(hidden, is_vision, mask).numpy(), two_means(hidden, mask)
    fits = [sklearn_clusters(hidden, seed) for seed in (0, 1, 2)]
    theirs = np.stack([sklearn_nmi([fit.labels_ for fit in each], is_vision) for each in fits])
    own = np.mean([np.abs(theirs[a] - theirs[b]).mean() for a, b in ((0, 1), (0, 2), (1, 2))])
    assert np.abs(theirs - ours).mean() <= max(0.001, 1.25 * own)
    inertia = np.mean([[fit.inertia_ for fit in each] for each in fits])
    assert clusters.inertia.mean().item() <= inertia * (1 + 1e-5)


def test_where_scikit_learn_agrees_with_itself_so_do_we():
    hidden, is_vision, mask = states(6.5, num_samples=60)
    theirs = np.stack(
        [sklearn_nmi([fit.labels_ for fit in sklearn_clusters(hidden, seed)], is_vision) for seed in (0, 1, 2)]
    )
    agrees = np.ptp(theirs, axis=0) <= 1e-12
    assert agrees.mean() > 0.9
    assert np.ptp(theirs[0]) > 0.1  # not all of them the trivial 1
    ours = normalized_mutual_information(hidden, is_vision, mask).numpy()
    assert np.abs(ours - theirs[0])[agrees].max() <= 0.001


def test_noise_gives_what_chance_gives():
    # The reference measures 0.025 for isotropic noise at 12 + 36 tokens.
    hidden, is_vision, mask = states(0.0, num_samples=200, num_tokens=48, width=768)
    assert normalized_mutual_information(hidden, is_vision, mask).mean().item() == pytest.approx(0.025, abs=0.007)


def test_a_sample_does_not_depend_on_batch_or_padding():
    hidden, is_vision, mask = states(4.0)
    together = normalized_mutual_information(hidden, is_vision, mask)
    alone = [
        normalized_mutual_information(h[None], v[None], m[None])
        for h, v, m in zip(hidden, is_vision, mask, strict=True)
    ]
    assert torch.equal(together, torch.cat(alone))
    assert torch.equal(together.flip(0), normalized_mutual_information(hidden.flip(0), is_vision, mask))
    # padding between text and vision and at the end, holding anything
    place = torch.cat([torch.arange(NUM_TEXT), torch.arange(NUM_TEXT, 40) + 5])
    wide = torch.full((24, 60, 32), float("nan"))
    wide[:, place] = hidden
    valid = torch.zeros(24, 60, dtype=torch.bool)
    valid[:, place] = True
    visual = torch.zeros(24, 60, dtype=torch.bool)
    visual[:, place] = is_vision
    assert torch.equal(together, normalized_mutual_information(wide, visual, valid))


def test_a_common_offset_does_not_change_the_value():
    hidden, is_vision, mask = states(4.0)
    moved = normalized_mutual_information(hidden + 300.0, is_vision, mask)
    torch.testing.assert_close(moved, normalized_mutual_information(hidden, is_vision, mask))


def test_layers_may_be_stacked_along_the_batch():
    hidden, is_vision, mask = states(4.0)
    stacked = normalized_mutual_information(torch.cat([hidden, -hidden]), is_vision.repeat(2, 1), mask.repeat(2, 1))
    assert torch.equal(stacked[:24], normalized_mutual_information(hidden, is_vision, mask))
    assert torch.equal(stacked[24:], normalized_mutual_information(-hidden, is_vision, mask))


def test_more_restarts_never_raise_the_inertia():
    hidden, _, mask = states(0.0)
    few, many = two_means(hidden, mask, 3).inertia, two_means(hidden, mask, 30).inertia
    assert (many <= few).all()
    assert (many < few).any()


def test_samples_without_two_modalities_or_without_spread_have_no_value():
    hidden, is_vision, mask = states(4.0, num_samples=4)
    mask = mask.clone()
    mask[0, NUM_TEXT:] = False
    mask[1, :NUM_TEXT] = False
    hidden[2] = torch.randn(32, generator=torch.Generator().manual_seed(0))
    value = normalized_mutual_information(hidden, is_vision, mask)
    assert value.isnan().tolist() == [True, True, True, False]
    assert normalized_mutual_information(hidden, is_vision, torch.zeros_like(mask)).isnan().all()


def test_half_precision_states_are_widened():
    hidden, is_vision, mask = states(20.0)
    assert (normalized_mutual_information(hidden.bfloat16(), is_vision, mask) == 1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"hidden": torch.zeros(2, 3)},
            "hidden must be floating point of shape (B, S, D), got float32 of shape (2, 3)",
        ),
        ({"mask": torch.ones(2, 4)}, "mask must be bool of shape (2, 4), got float32 of shape (2, 4)"),
        ({"is_vision": torch.ones(2, 3).bool()}, "is_vision must be bool of shape (2, 4), got bool of shape (2, 3)"),
        ({"num_restarts": 0}, "num_restarts must be at least 1, got 0"),
        (
            {"hidden": torch.full((2, 4, 3), torch.inf)},
            "hidden has a state that is not finite, in sample 0 of the batch",
        ),
    ],
)
def test_bad_input_is_named(change: dict[str, object], message: str):
    arguments = {
        "hidden": torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)),
        "is_vision": torch.tensor([[False, False, True, True]] * 2),
        "mask": torch.ones(2, 4, dtype=torch.bool),
    }
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        normalized_mutual_information(**(arguments | change))
