"""VisualBERT's embedding of words and regions (Li et al. 2019, arXiv:1908.03557; released code)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from vlp.data.sample import Batch
from vlp.models.embeddings.base import Embedded, Embeddings, TextEmbeddings
from vlp.models.embeddings.regions import NO_WORD, region_inputs, with_global_region

# Axes: B batch, V regions, K aligned words, D width.

VISUAL_POSITION = 0
"""Row of the visual position table that every region gets."""


class VisualBertEmbeddings(Embeddings):
    """Region = LN(W feature + visual position 0 + visual segment), with the LayerNorm that words have; dropout.

    Boxes are not read. Where ``batch.alignment`` names words, the mean of their *text* positions is added (the paper
    says sum; we follow the code). The model has no mask vector and its paper masks no region: a masked one's feature is
    zeroed, as in the controlled models of Bugliarello et al. 2021.

    Args:
        vocab_size: rows of the word table.
        feature_width: F of the region features.
        width: D.
        positions: the longest caption in word pieces; rows of both position tables.
        visual_type: segment of regions where the batch gives none. The original code has 0 for one image;
            transformers' default is 1, a row that the released single-image weights hardly trained.
        dropout: after the LayerNorm.
        eps: LayerNorm's epsilon.
        global_region: see `Embeddings`.
    """

    def __init__(
        self,
        vocab_size: int,
        feature_width: int,
        width: int,
        positions: int,
        visual_type: int = 0,
        dropout: float = 0.1,
        eps: float = 1e-12,
        global_region: str | None = None,
    ) -> None:
        text = TextEmbeddings(vocab_size, width, positions, dropout=dropout, eps=eps)
        super().__init__(text, feature_width, global_region)
        self.visual_type = visual_type
        self.features = nn.Linear(feature_width, width)
        self.visual_positions = nn.Embedding(positions, width)
        self.visual_types = nn.Embedding(2, width)

    def forward(self, batch: Batch) -> Embedded:
        """Return both streams."""
        batch = with_global_region(batch, self.global_region)
        place = self.visual_positions.weight[VISUAL_POSITION]
        if batch.alignment is not None:
            place = place + self._word_positions(batch.alignment)
        regions = region_inputs(batch)
        summed = self.features(regions.features) + place + self._segments(batch)
        vision = self.text.dropout(self.text.norm(summed))
        return Embedded(self.text(batch.input_ids, batch.token_types), batch.text_mask, vision, regions.mask)

    def _segments(self, batch: Batch) -> Tensor:
        if batch.visual_types is None:
            return self.visual_types.weight[self.visual_type]
        return self.visual_types(batch.visual_types)

    def _word_positions(self, alignment_BVK: Tensor) -> Tensor:
        """Return the mean position embedding (B, V, D) of each region's words, zero where it has none."""
        is_word = alignment_BVK != NO_WORD
        positions_BVKD = functional.embedding(alignment_BVK.clamp(min=0), self.text.positions.weight)
        total_BVD = (positions_BVKD * is_word[..., None]).sum(dim=2)
        return total_BVD / is_word.sum(dim=2, keepdim=True).clamp(min=1)
