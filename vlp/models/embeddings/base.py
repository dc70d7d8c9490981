"""What an embedding hands to a stack, and the word embedding all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vlp.data.sample import Batch

# Axes: B batch, T text tokens, V visual tokens, F feature width, D width.


@dataclass(frozen=True)
class Embedded:
    """The streams before the first block.

    ``text`` (B, T, D) and ``text_mask`` (B, T) bool; ``vision`` (B, V, D') and ``vision_mask`` (B, V) bool, or None for
    a model that reads text only. V is the embedding's own affair: regions, patches, a global row before them.
    """

    text: Tensor
    text_mask: Tensor
    vision: Tensor | None = None
    vision_mask: Tensor | None = None


class TextEmbeddings(nn.Module):
    """BERT's word embedding: LayerNorm(word + position + segment), dropout.

    Args:
        vocab_size: rows of the word table.
        width: D.
        positions: rows of the position table, the longest caption in word pieces.
        types: rows of the segment table.
        dropout: after the LayerNorm.
        eps: LayerNorm's epsilon.
        frozen_row: row of all three tables that keeps its initial value (LXMERT: 0), or None.
    """

    def __init__(
        self,
        vocab_size: int,
        width: int,
        positions: int,
        types: int = 2,
        dropout: float = 0.1,
        eps: float = 1e-12,
        frozen_row: int | None = None,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, width, padding_idx=frozen_row)
        self.positions = nn.Embedding(positions, width, padding_idx=frozen_row)
        self.types = nn.Embedding(types, width, padding_idx=frozen_row)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids: Tensor, token_types: Tensor) -> Tensor:
        """Return (B, T, D) for piece ids and segments (B, T)."""
        order_T = torch.arange(input_ids.shape[1], device=input_ids.device)
        summed = self.words(input_ids) + self.types(token_types) + self.positions(order_T)
        return self.dropout(self.norm(summed))


class Embeddings(nn.Module, ABC):
    """Turns a batch into streams; what truly differs between papers.

    Args:
        text: the word embedding.
        feature_width: F of the region features it reads; None for a model that reads none.
    """

    def __init__(self, text: TextEmbeddings, feature_width: int | None) -> None:
        super().__init__()
        self.text = text
        self.feature_width = feature_width

    @abstractmethod
    def forward(self, batch: Batch) -> Embedded:
        """Return the streams of ``batch``."""

    def vision_mask(self, batch: Batch) -> Tensor | None:
        """Return which visual tokens are real, (B, V) bool; None for a model that reads no image."""
        return batch.region_mask
