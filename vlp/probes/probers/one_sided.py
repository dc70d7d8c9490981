"""One-sided prober: what one of the two tokens tells of their relation, a control that has not seen the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from vlp.probes.probers.linear import LinearProber
from vlp.probes.probers.settings import FitSettings

FIRST, SECOND = 0, 1
"""Sides: the phrase or subject, and the region or object."""


class OneSidedProber(LinearProber):
    """Linear classifier over the state of one token of a pair, layer by layer.

    Args:
        item_shape: of one pair's states, layers x 2 x width.
        num_classes: labels C, at least 2.
        optimizer: builds the optimiser from the parameters.
        fitting: how it is trained, with the prober seeds.
        seed: of the probe.
        side: which token, `FIRST` or `SECOND`.
    """

    reads: ClassVar[str] = "states"

    def __init__(
        self,
        item_shape: Sequence[int],
        num_classes: int,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        fitting: FitSettings,
        seed: int = 0,
        side: int = FIRST,
    ) -> None:
        num_layers, _, width = item_shape
        super().__init__(num_layers, width, num_classes, optimizer, fitting, seed)
        self.side = side

    def arrange(self, inputs: Tensor) -> Tensor:
        """Return states (..., L, 2, D) as (..., L, D)."""
        return inputs.select(-2, self.side)
