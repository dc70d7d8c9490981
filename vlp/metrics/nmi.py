"""Normalised mutual information between 2-means clusters of token states and their modality (VALUE section 4.1).

States that fall apart into text and vision give 1, states in which the modalities cannot be told apart give about 0.
Clustering is k-means with k-means++ starts, done in Gram space: one S x S product a sample, after which every start and
every iteration costs S x S whatever the width. With centred states only one product is needed for both clusters,
because their indicator sums cancel: ``K z_0 = -K z_1``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vlp.metrics.estimates import SampleStatistic

# Axes: B samples, S tokens, D width, R restarts, C second starts for each first one.

MAX_ITERATIONS = 300
"""Of Lloyd's algorithm, as in scikit-learn; a partition that no longer changes ends it much earlier."""

SECOND_STARTS = 2
"""Second means drawn for each first one. scikit-learn draws as many and keeps the one with the lowest inertia at the
start; here both run to the end, which costs little in Gram space and finds a lower inertia."""

_FAR_FROM_ORIGIN = 1 / 64
"""Where the spread is a smaller share of the states' squared size than this, centring products loses two digits."""

_EQUAL_POINTS = 1e-10
"""Share of the states' squared size below which their spread is rounding, so that all points are equal."""


class Clusters(NamedTuple):
    """Two clusters a sample.

    ``labels`` (B, S) bool is false at padding, ``inertia`` (B,) the sum of squared distances to the cluster means, and
    ``is_degenerate`` (B,) bool true where all points are equal, so that there is nothing to cluster.
    """

    labels: Tensor
    inertia: Tensor
    is_degenerate: Tensor


def normalized_mutual_information(
    hidden: Tensor, is_vision: Tensor, mask: Tensor, num_restarts: int = 10, seed: int = 0
) -> Tensor:
    """Return how well 2-means clusters of a sample's states tell text from vision.

    ``I(cluster; modality) / mean(H(cluster), H(modality))``, of the clustering with the lowest inertia of all starts. A
    sample's value depends neither on the other samples of the batch nor on its padding. Layers may be stacked along B.

    Args:
        hidden: (B, S, D) floating-point states; what stands at padding is never read.
        is_vision: (B, S) bool, true at visual tokens.
        mask: (B, S) bool, true at the tokens that count (no padding; by convention no [CLS] or [SEP] either).
        num_restarts: k-means++ starts.
        seed: of the starts.

    Returns:
        (B,) float64 in [0, 1]; NaN where a modality has no token or all states are equal.

    Raises:
        ValueError: if shapes or types do not fit, a counted state is not finite, or ``num_restarts`` is below 1.

    Example:
        >>> hidden = torch.tensor([[[0.0], [0.1], [5.0], [5.1]]])
        >>> is_vision = torch.tensor([[False, False, True, True]])
        >>> normalized_mutual_information(hidden, is_vision, torch.ones(1, 4, dtype=torch.bool))
        tensor([1.], dtype=torch.float64)
    """
    if is_vision.shape != mask.shape or is_vision.dtype != torch.bool:
        raise ValueError(f"is_vision must be bool of shape {tuple(mask.shape)}, got {_describe(is_vision)}")
    clusters = two_means(hidden, mask, num_restarts, seed)
    return cluster_agreement(clusters, is_vision, mask)


def cluster_agreement(clusters: Clusters, is_vision: Tensor, mask: Tensor) -> Tensor:
    """Return (B,) the NMI of clusters and modality; NaN where a modality has no token or nothing was clustered."""
    has_both = (is_vision & mask).any(-1) & (~is_vision & mask).any(-1)
    value = label_agreement(clusters.labels, is_vision, mask)
    return value.masked_fill(~has_both | clusters.is_degenerate, torch.nan)


def label_agreement(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """Return the normalised mutual information of two binary labellings, with the arithmetic mean of their entropies.

    Args:
        first: (..., S) bool labels.
        second: (..., S) bool labels.
        mask: (..., S) bool, true at the tokens that count.

    Returns:
        (...) float64 in [0, 1]; 1 where both labellings have a single class, as in scikit-learn.
    """
    counts = torch.stack([(a & b & mask).sum(-1) for a in (first, ~first) for b in (second, ~second)], -1)
    table = counts.to(_double(counts)).unflatten(-1, (2, 2))
    table = table / table.sum((-1, -2), keepdim=True).clamp(min=1)
    rows, columns = table.sum(-1), table.sum(-2)
    entropies = _entropy(rows) + _entropy(columns)
    information = entropies - _entropy(table.flatten(-2))
    single = entropies <= torch.finfo(entropies.dtype).eps
    value = (2 * information / entropies.masked_fill(single, 1)).clamp(0, 1)
    return value.masked_fill(single, 1)


class NormalizedMutualInformation(SampleStatistic):
    """Mean over samples of `normalized_mutual_information`: 1 where the modalities stay apart.

    Args:
        num_restarts: k-means++ starts.
        seed: of the starts.
    """

    metric = "nmi"
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, num_restarts: int = 10, seed: int = 0) -> None:
        super().__init__()
        self.num_restarts = num_restarts
        self.seed = seed

    def update(self, hidden: Tensor, is_vision: Tensor, mask: Tensor) -> None:
        """Take (B, S, D) states of tokens that are visual or not (B, S), where ``mask`` (B, S) is true."""
        self.add(normalized_mutual_information(hidden, is_vision, mask, self.num_restarts, self.seed))


@torch.no_grad()
def two_means(hidden: Tensor, mask: Tensor, num_restarts: int = 10, seed: int = 0) -> Clusters:
    """Cluster the states of each sample in two: the best of ``num_restarts`` runs of k-means.

    Args:
        hidden: (B, S, D) states.
        mask: (B, S) bool, true at the tokens to cluster.
        num_restarts: k-means++ starts.
        seed: of the starts; every sample uses the same draws, so that its result is its own.

    Raises:
        ValueError: if shapes or types do not fit, a counted state is not finite, or ``num_restarts`` is below 1.
    """
    _check(hidden, mask, num_restarts)
    gram_BSS, is_degenerate = centred_gram(hidden, mask)
    labels_BRS, inertia_BR = lloyd(gram_BSS, mask, _spread_starts(gram_BSS, mask, num_restarts, seed))
    inertia, best = inertia_BR.min(-1)
    _check_finite(inertia)
    labels = labels_BRS.gather(1, best[:, None, None].expand(-1, 1, mask.shape[1])).squeeze(1)
    return Clusters(labels, inertia, is_degenerate)


def centred_gram(hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the inner products (B, S, S) of the states minus their sample's mean, and where there is no spread (B,).

    Rows and columns of padding are 0. Half-precision states are widened to float32. Products are centred rather than
    states, which are many more numbers, except in samples that lie so far from the origin that digits would be lost.
    """
    hidden = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
    raw = _masked_products(hidden, mask)
    size, gram = _trace(raw), _centred(raw, mask)
    is_far = _trace(gram) < _FAR_FROM_ORIGIN * size
    if is_far.any():
        far, real = hidden[is_far], mask[is_far]
        center = far.masked_fill(~real[..., None], 0).sum(1, keepdim=True) / real.sum(1)[:, None, None]
        gram[is_far] = _centred(_masked_products(far - center, real), real)
    return gram, _trace(gram) <= _EQUAL_POINTS * size


def _masked_products(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return inner products (B, S, S), 0 at padding, which may hold anything."""
    return (hidden @ hidden.mT).masked_fill_(~(mask[:, :, None] & mask[:, None]), 0)


def _centred(products: Tensor, mask: Tensor) -> Tensor:
    """Return what inner products (B, S, S) become when the states' mean is subtracted; changes ``products``."""
    count = mask.sum(-1, keepdim=True).clamp(min=1)
    with_mean = products.sum(-1) / count
    mean_size = with_mean.sum(-1, keepdim=True) / count
    products.sub_((with_mean - mean_size / 2)[:, :, None]).sub_((with_mean - mean_size / 2)[:, None])
    return products.masked_fill_(~(mask[:, :, None] & mask[:, None]), 0)


def _trace(products: Tensor) -> Tensor:
    return products.diagonal(dim1=1, dim2=2).sum(-1)


def lloyd(gram_BSS: Tensor, mask: Tensor, starts_BR2: Tensor) -> tuple[Tensor, Tensor]:
    """Run 2-means from given starts until no label changes.

    Args:
        gram_BSS: (B, S, S) centred inner products, 0 at padding.
        mask: (B, S) bool, true at the tokens to cluster.
        starts_BR2: (B, R, 2) long, positions of the two tokens that are the first means.

    Returns:
        ``labels`` (B, R, S) bool, true in the cluster of the second start, and ``inertia`` (B, R).
    """
    labels = _nearer_second(gram_BSS, starts_BR2) & mask[:, None]
    spread = torch.empty(labels.shape[:2], dtype=gram_BSS.dtype, device=gram_BSS.device)
    moving = torch.arange(len(labels), device=labels.device)
    gram = gram_BSS
    for _ in range(MAX_ITERATIONS):
        before = labels[moving]
        updated, spread[moving] = _reassigned(gram, mask[moving], before)
        labels[moving] = updated
        has_moved = (updated != before).flatten(1).any(1)
        num_moved = int(has_moved.sum())
        if not num_moved:
            break
        if 4 * num_moved <= 3 * len(moving):  # samples at rest are left out, when that pays for copying the others
            moving, gram = moving[has_moved], gram[has_moved]
    return labels, _trace(gram_BSS)[:, None] - spread


def _nearer_second(gram_BSS: Tensor, starts_BR2: Tensor) -> Tensor:
    """Return (B, R, S) bool, true at tokens nearer to the second start than to the first."""
    size = gram_BSS.diagonal(dim1=1, dim2=2)
    rows = [_take_rows(gram_BSS, start) for start in starts_BR2.unbind(-1)]
    first, second = (size.gather(1, start)[..., None] for start in starts_BR2.unbind(-1))
    return rows[1] - rows[0] > (second - first) / 2  # x is nearer to b than to a when 2 x (b - a) > |b|^2 - |a|^2


def _reassigned(gram_BSS: Tensor, mask: Tensor, labels_BRS: Tensor) -> tuple[Tensor, Tensor]:
    """Return labels by the nearer mean of ``labels_BRS``, and what the two means take off the inertia (B, R)."""
    indicator = labels_BRS.to(gram_BSS.dtype)
    sums = indicator @ gram_BSS
    count = indicator.sum(-1)
    inner = (sums * indicator).sum(-1)
    inverse, other = 1 / count.clamp(min=1), 1 / (mask.sum(-1, keepdim=True) - count).clamp(min=1)
    # the means are sums / count and -sums / (n - count)
    return (sums > (inner * (inverse - other) / 2)[..., None]) & mask[:, None], inner * (inverse + other)


def _spread_starts(gram_BSS: Tensor, mask: Tensor, num_restarts: int, seed: int) -> Tensor:
    """Return (B, R * C, 2) positions: first ones drawn evenly, second ones by squared distance to them (k-means++)."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(num_restarts, 1 + SECOND_STARTS, generator=generator).to(gram_BSS)
    rank = (draws[:, 0] * mask.sum(-1, keepdim=True)).long()
    first_BR = _nth_token(mask, rank)
    cumulated = (_squared_distances(gram_BSS, first_BR) * mask[:, None]).cumsum(-1)
    targets_BRC = draws[:, 1:] * cumulated[..., -1:]
    second_BRC = torch.searchsorted(cumulated, targets_BRC, right=True).clamp(max=mask.shape[1] - 1)
    return torch.stack([first_BR[..., None].expand_as(second_BRC), second_BRC], -1).flatten(1, 2)


def _nth_token(mask: Tensor, rank_BR: Tensor) -> Tensor:
    """Return the position of the token with ``rank_BR`` tokens before it that ``mask`` (B, S) counts."""
    return torch.searchsorted(mask.long().cumsum(-1), rank_BR + 1).clamp(max=mask.shape[1] - 1)


def _squared_distances(gram_BSS: Tensor, positions_BR: Tensor) -> Tensor:
    """Return (B, R, S), never negative, from the tokens at ``positions_BR`` to every token."""
    size = gram_BSS.diagonal(dim1=1, dim2=2)
    distances = size[:, None] + size.gather(1, positions_BR)[..., None] - 2 * _take_rows(gram_BSS, positions_BR)
    return distances.clamp_(min=0)


def _take_rows(gram_BSS: Tensor, positions_BR: Tensor) -> Tensor:
    return gram_BSS.gather(1, positions_BR[..., None].expand(-1, -1, gram_BSS.shape[2]))


def _entropy(probabilities: Tensor) -> Tensor:
    return -torch.special.xlogy(probabilities, probabilities).sum(-1)


def _double(tensor: Tensor) -> torch.dtype:
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def _check(hidden: Tensor, mask: Tensor, num_restarts: int) -> None:
    if hidden.dim() != 3 or not hidden.is_floating_point():
        raise ValueError(f"hidden must be floating point of shape (B, S, D), got {_describe(hidden)}")
    if mask.shape != hidden.shape[:2] or mask.dtype != torch.bool:
        raise ValueError(f"mask must be bool of shape {tuple(hidden.shape[:2])}, got {_describe(mask)}")
    if num_restarts < 1:
        raise ValueError(f"num_restarts must be at least 1, got {num_restarts}")


def _check_finite(inertia: Tensor) -> None:
    if not torch.isfinite(inertia).all():
        sample = int((~torch.isfinite(inertia)).nonzero()[0])
        raise ValueError(f"hidden has a state that is not finite, in sample {sample} of the batch")


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
