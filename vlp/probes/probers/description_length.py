"""Minimum description length: how many bits labels cost with the activations at hand, learning included."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vlp.probes.probers.examples import Examples
from vlp.probes.probers.fitting import ProberFactory, fit
from vlp.probes.probers.standardising import standardisation

FRACTIONS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
"""Where blocks end, as parts of the labels (Voita and Titov, section 4.1)."""


class DescriptionLength(NamedTuple):
    """Cost of N labels by layer and prober seed.

    ``bits`` (L, P) with the activations, ``uniform_bits`` without: N log2 C; ``compression`` (L, P) is the second over
    the first, 1 where activations tell nothing.
    """

    bits: Tensor
    uniform_bits: float
    compression: Tensor


def description_length(
    prober: ProberFactory, train: Examples, val: Examples, num_classes: int, seed: int = 0
) -> DescriptionLength:
    """Return the online code of the training labels: each block is coded by a prober fitted to the blocks before it.

    The first block is coded uniformly. Probers are stopped by the validation loss, since it is their probabilities that
    code; their start can be the best they have, and that of a linear prober is the uniform code. Activations are known
    to both sides, so all of them standardise; by those of two items some features would be worth hundreds. After Voita
    and Titov, "Information-Theoretic Probing with Minimum Description Length", EMNLP 2020.

    Args:
        prober: builds the prober.
        train: the items whose labels are coded, in an order drawn with ``seed``.
        val: items that stop each fit.
        num_classes: labels C, at least 2.
        seed: of the order and of the probers.
    """
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(train)))
    ends = block_ends(len(train))
    module = prober(item_shape=train.item_shape, num_classes=num_classes, seed=seed)
    statistics = standardisation(train, module.arrange)
    nats = torch.full((module.num_groups,), ends[0] * math.log(num_classes), dtype=torch.float64)
    for start, end in itertools.pairwise(ends):
        fitted = fit(prober, train.select(order[:start]), val, num_classes, seed, "loss", statistics)
        nats = nats - fitted.predict(train.select(order[start:end])).log_prob.double().sum(1)
    bits = (nats / math.log(2)).view(module.num_layers, -1)
    uniform_bits = len(train) * math.log2(num_classes)
    return DescriptionLength(bits, uniform_bits, uniform_bits / bits)


def block_ends(size: int) -> Sequence[int]:
    """Return how many of ``size`` labels stand before the end of each block, without empty blocks."""
    return sorted({max(1, round(fraction * size)) for fraction in FRACTIONS})
