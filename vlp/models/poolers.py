"""Poolers: one vector for a pair, from the last states of both streams."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

# Axes: B batch, T text tokens, V visual tokens (a global row among them), D width, D' width of vision, P pooled width.

FUSIONS = ("mul", "sum", "text")
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


class Pooler(nn.Module, ABC):
    """What makes one vector of a pair.

    Args:
        width: P of the vector.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    @abstractmethod
    def forward(self, text: Tensor, vision: Tensor | None) -> Tensor:
        """Return (B, P) for text (B, T, D) and vision (B, V, D')."""


class FirstTokenPooler(Pooler):
    """tanh(W h) of the first text token, [CLS]."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.dense = nn.Linear(width, width)

    def forward(self, text: Tensor, vision: Tensor | None) -> Tensor:
        """Return (B, D) for text (B, T, D); ``vision`` is not read."""
        return torch.tanh(self.dense(text[:, 0]))


class FirstToken(Pooler):
    """The first text token, [CLS], as it is: SOHO's heads and the Swin-parsed model's read the last layer."""

    def forward(self, text: Tensor, vision: Tensor | None) -> Tensor:
        """Return (B, D) for text (B, T, D); ``vision`` is not read."""
        return text[:, 0]


class FusedPooler(Pooler):
    """The first token of either stream, projected and fused (ViLBERT; controlled models of Bugliarello et al. 2021).

    The first visual token has to be a global row, since regions have no order. Without a pooler at all
    (``pooler: null``) a model is trained without matching, as VL-BERT is.

    Args:
        text_width, vision_width: D and D'.
        width: P.
        fusion: ``mul`` or ``sum`` of both streams, or ``text`` alone, which leaves the image's pooler out.
        activation: ``relu`` or ``tanh``, before fusion.
        dropout: after fusion.

    Raises:
        ValueError: if there is no such fusion or activation.
    """

    def __init__(
        self,
        text_width: int,
        vision_width: int,
        width: int,
        fusion: str = "mul",
        activation: str = "relu",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(width)
        if fusion not in FUSIONS:
            raise ValueError(f"fusion={fusion} is none of {', '.join(FUSIONS)}; without a pooler it is pooler: null")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation} is none of {', '.join(ACTIVATIONS)}")
        self.fusion = fusion
        self.activation = ACTIVATIONS[activation]
        self.text = nn.Linear(text_width, width)
        self.vision = None if fusion == "text" else nn.Linear(vision_width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, text: Tensor, vision: Tensor | None) -> Tensor:
        """Return (B, P) for text (B, T, D) and vision (B, V, D').

        Raises:
            ValueError: if there is no vision to fuse.
        """
        pooled_BP = self.activation(self.text(text[:, 0]))
        if self.vision is not None:
            if vision is None:
                raise ValueError(f"fusion={self.fusion} needs an image, the batch has none")
            seen_BP = self.activation(self.vision(vision[:, 0]))
            pooled_BP = pooled_BP * seen_BP if self.fusion == "mul" else pooled_BP + seen_BP
        return self.dropout(pooled_BP)
