"""Linear probers: what they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vlp.probes.probers.base import Prober
from vlp.probes.probers.settings import FitSettings

GAIN = 10.0
"""What weights count for: Adam moves each by the learning rate, however far it has to go, so that at the rate of the
bilinear probers a logistic regression would take thousands of steps."""


class LinearProber(Prober):
    """Logits W x + b of F features a layer, where W and b are `GAIN` times the parameters.

    The loss is convex, so it starts from zero: a random start teaches nothing and can be what early stopping ends on.

    Args:
        num_layers: layers L, each with a classifier of its own.
        num_features: features F.
        num_classes: labels C, at least 2.
        optimizer: builds the optimiser from the parameters.
        fitting: how it is trained, with the prober seeds.
        seed: of the probe.
    """

    def __init__(
        self,
        num_layers: int,
        num_features: int,
        num_classes: int,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        fitting: FitSettings,
        seed: int = 0,
    ) -> None:
        super().__init__((num_layers, num_features), num_classes, optimizer, fitting, seed)
        self.weight = nn.Parameter(torch.zeros(self.num_groups, num_features, num_classes))
        self.bias = nn.Parameter(torch.zeros(self.num_groups, 1, num_classes))

    def logits(self, inputs: Tensor) -> Tensor:
        """Return (A, B, C) of standardised inputs (A, B, F)."""
        return GAIN * torch.baddbmm(self.bias, inputs, self.weight)
