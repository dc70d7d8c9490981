"""What an embedding hands to a stack, and the word embedding all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from vlp.data.pixels import PixelInput
from vlp.data.sample import Batch
from vlp.models.embeddings.regions import FIRST, LAST, beside, check_regions

# Axes: B batch, T text tokens, V visual tokens, F feature width, D width.


@dataclass(frozen=True)
class Embedded:
    """The streams before the first block.

    ``text`` (B, T, D) and ``text_mask`` (B, T) bool; ``vision`` (B, V, D') and ``vision_mask`` (B, V) bool, or None for
    a model that reads text only. V is the embedding's own affair: regions, patches, a global row before them.

    An embedding that hides visual tokens itself (`Batch.pivots`, or `Batch.masked_regions` of a model of pixels) says
    which, ``hidden`` (B, V) bool, and what stood there, ``targets`` (B, V) or (B, V, F); both without a global row.
    """

    text: Tensor
    text_mask: Tensor
    vision: Tensor | None = None
    vision_mask: Tensor | None = None
    hidden: Tensor | None = None
    targets: Tensor | None = None


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

    def forward(self, input_ids: Tensor, token_types: Tensor, context: Tensor | None = None) -> Tensor:
        """Return (B, T, D) for piece ids and segments (B, T); ``context`` (B, 1, D) is added to every piece."""
        order_T = torch.arange(input_ids.shape[1], device=input_ids.device)
        summed = self.words(input_ids) + self.types(token_types) + self.positions(order_T)
        if context is not None:
            summed = summed + context
        return self.dropout(self.norm(summed))


class Embeddings(nn.Module, ABC):
    """Turns a batch into streams; what truly differs between papers.

    Args:
        text: the word embedding.
        feature_width: F of the region features it reads; None for a model that reads none.
        global_region: where a row for the whole image stands among the regions, ``first`` or ``last``; None for no such
            row. It is made by `vlp.models.embeddings.regions.with_global_region`.

    Raises:
        ValueError: if there is no such place.
    """

    reads: ClassVar[str] = "regions"
    """What it reads of an image: ``regions`` or ``pixels``; ``text`` if it reads none."""
    released_behaviour: bool | None = None
    """Whether it does what its released code does wrong; None where there is nothing of the kind."""

    def __init__(self, text: TextEmbeddings, feature_width: int | None, global_region: str | None = None) -> None:
        super().__init__()
        if global_region not in (None, FIRST, LAST):
            raise ValueError(f"global_region={global_region}: expected {FIRST}, {LAST} or null")
        self.text = text
        self.feature_width = feature_width
        self.global_region = global_region

    @abstractmethod
    def forward(self, batch: Batch) -> Embedded:
        """Return the streams of ``batch``."""

    @property
    def pixel_input(self) -> PixelInput | None:
        """How an image becomes the pixels it reads; None where it reads none."""
        return None

    def check(self, batch: Batch, model: str) -> None:
        """Check that ``batch`` has what this embedding, of the model of that name, can read.

        Raises:
            ValueError: if it has not.
        """
        if self.feature_width is not None:
            check_regions(batch, self.feature_width, model)

    def initialise_own(self) -> None:
        """Set the weights that do not begin as all others do."""

    @property
    def max_positions(self) -> int:
        """The longest caption in word pieces."""
        return self.text.positions.num_embeddings

    @property
    def first_region(self) -> int:
        """Where the first region stands among the visual tokens."""
        return int(self.global_region == FIRST)

    def vision_mask(self, batch: Batch) -> Tensor | None:
        """Return which visual tokens are real, (B, V) bool; None for a model that reads no image.

        A global row is among them and not real.
        """
        if batch.region_mask is None:
            return None
        return beside(batch.region_mask, torch.zeros_like(batch.region_mask[:, :1]), self.global_region)

    def without_global(self, vision: Tensor) -> Tensor:
        """Return states of visual tokens (B, V, D') without those of the global row."""
        if self.global_region is None:
            return vision
        return vision[:, 1:] if self.global_region == FIRST else vision[:, :-1]
