"""Raw-feature prober: what can be read from the detector's features of two regions, without any model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from vlp.probes.probers.embedding import EmbeddingProber
from vlp.probes.probers.settings import FitSettings


class VisualFeaturesProber(EmbeddingProber):
    """The classifier of `EmbeddingProber` over raw region features: the paper's "original visual embeddings".

    Args:
        item_shape: of one pair's features, 2 x F.
        num_classes: labels C, at least 2.
        optimizer: builds the optimiser from the parameters.
        fitting: how it is trained, with the prober seeds.
        seed: of the probe.
        rank: rows of W_w and W_mu; the model's width, so that both probers have products of one size.
        bias: see `EmbeddingProber`.
    """

    reads: ClassVar[str] = "features"

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
        super().__init__((1, *item_shape), num_classes, optimizer, fitting, seed, rank, bias)

    def arrange(self, inputs: Tensor) -> Tensor:
        """Return features (..., 2, F) as (..., 1, 2, F)."""
        return inputs.unsqueeze(-3)
