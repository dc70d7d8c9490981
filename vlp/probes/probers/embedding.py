"""Embedding prober: what a bilinear classifier can read from two tokens' states, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vlp.probes.probers.base import Prober
from vlp.probes.probers.settings import FitSettings


class EmbeddingProber(Prober):
    """Bilinear classifier over two tokens' states, one a layer: logits_c = w_c^T ((W_w e_i + b) * (W_mu e_j + d)).

    After Cao et al., "Behind the Scene" (VALUE), ECCV 2020, arXiv:2005.07310, equation 4, with a row w per class, which
    the printed equation lacks, and with b and d, which it needs here: states as they are have a mean, so that their
    products hold each side's own terms as well; standardised ones have none, and products alone cannot tell which of
    two numbers is larger (left of, above). (A full bilinear form costs 33 times a product of rank 128.)

    Args:
        item_shape: of one pair's states, layers L x 2 x width D.
        num_classes: labels C, at least 2.
        optimizer: builds the optimiser from the parameters.
        fitting: how it is trained, with the prober seeds.
        seed: of the probe.
        rank: rows of W_w and W_mu; None for the width, as in the paper.
        bias: whether there are b and d.
    """

    reads: ClassVar[str] = "states"

    def __init__(
        self,
        item_shape: Sequence[int],
        num_classes: int,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        fitting: FitSettings,
        seed: int = 0,
        rank: int | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__(item_shape, num_classes, optimizer, fitting, seed)
        width = item_shape[-1]
        rank = rank or width
        self.first, self.second, self.classes = self.uniform_groups((width, rank), (width, rank), (rank, num_classes))
        start = torch.full((self.num_groups, 2, rank), float(bias))
        self.biases = nn.Parameter(start, requires_grad=bias)

    def logits(self, inputs: Tensor) -> Tensor:
        """Return (A, B, C) of standardised inputs (A, B, 2, D)."""
        b, d = self.biases.unsqueeze(2).unbind(1)
        first, second = inputs.unbind(2)
        product = torch.baddbmm(b, first, self.first) * torch.baddbmm(d, second, self.second)
        return torch.bmm(product, self.classes)
