"""Attention prober: what a linear classifier can read from attention weights alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from vlp.probes.probers.linear import LinearProber
from vlp.probes.probers.settings import FitSettings


class AttentionProber(LinearProber):
    """Linear classifier over the attention between two tokens, all layers and heads together.

    Per pair and head it reads the weight from first to second token and back, standardised: raw weights are so small
    that a linear classifier under-fits them. After Cao et al., "Behind the Scene" (VALUE), ECCV 2020, arXiv:2005.07310,
    equation 3, whose scalar weights per head become a row per class; without that it could not classify.

    Args:
        item_shape: of one pair's attention, layers x heads x 2 directions.
        num_classes: labels C, at least 2.
        optimizer: builds the optimiser from the parameters.
        fitting: how it is trained, with the prober seeds.
        seed: of the probe.
    """

    reads: ClassVar[str] = "attention"

    def __init__(
        self,
        item_shape: Sequence[int],
        num_classes: int,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        fitting: FitSettings,
        seed: int = 0,
    ) -> None:
        super().__init__(1, math.prod(item_shape), num_classes, optimizer, fitting, seed)

    def arrange(self, inputs: Tensor) -> Tensor:
        """Return attention (..., layers, heads, 2) as (..., 1, F)."""
        return inputs.flatten(-3).unsqueeze(-2)
