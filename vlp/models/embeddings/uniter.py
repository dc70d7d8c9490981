"""UNITER's embedding of words and regions (Chen et al., ECCV 2020, arXiv:1909.11740; released code)."""

from __future__ import annotations

from torch import Tensor, nn

from vlp.data.sample import Batch
from vlp.models.embeddings.base import Embedded, Embeddings, TextEmbeddings
from vlp.models.embeddings.regions import location_vector, region_inputs, with_global_region

FIRST_IMAGE_TYPE = 1
"""Row of the segment table, shared with text, that regions of the first image get; text is 0."""


class UniterEmbeddings(Embeddings):
    """Region = LN(LN(W feature) + LN(W location) + segment 1), dropout; words as in BERT.

    A masked region's feature is zeroed and a learned vector is added to it before the projection; its location is
    never hidden. A region's segment is its visual type + 1 (NLVR2 has two images and ``types=3``).

    Args:
        vocab_size: rows of the word table.
        feature_width: F of the region features.
        width: D.
        positions: the longest caption in word pieces.
        types: rows of the segment table.
        dropout: after the last LayerNorm of either stream.
        eps: LayerNorm's epsilon.
        location_width: 7 for (x1, y1, x2, y2, w, h, area) in [0, 1], 5 without size.
        has_mask_vector: whether a masked region gets the learned vector, or nothing.
        global_region: see `Embeddings`.
    """

    def __init__(
        self,
        vocab_size: int,
        feature_width: int,
        width: int,
        positions: int,
        types: int = 2,
        dropout: float = 0.1,
        eps: float = 1e-12,
        location_width: int = 7,
        has_mask_vector: bool = True,
        global_region: str | None = None,
    ) -> None:
        text = TextEmbeddings(vocab_size, width, positions, types, dropout, eps)
        super().__init__(text, feature_width, global_region)
        self.location_width = location_width
        self.features = nn.Linear(feature_width, width)
        self.features_norm = nn.LayerNorm(width, eps=eps)
        self.location = nn.Linear(location_width, width)
        self.location_norm = nn.LayerNorm(width, eps=eps)
        self.masked_feature = nn.Embedding(1, feature_width) if has_mask_vector else None
        self.norm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Embedded:
        """Return both streams."""
        batch = with_global_region(batch, self.global_region)
        regions = region_inputs(batch)
        look = self.features_norm(self.features(self._with_mask_vector(regions.features, batch)))
        place = self.location_norm(self.location(location_vector(regions.boxes, self.location_width)))
        vision = self.dropout(self.norm(look + place + self._segments(batch)))
        return Embedded(self.text(batch.input_ids, batch.token_types), batch.text_mask, vision, regions.mask)

    def _with_mask_vector(self, features: Tensor, batch: Batch) -> Tensor:
        if batch.masked_regions is None or self.masked_feature is None:
            return features
        return features + batch.masked_regions[..., None] * self.masked_feature.weight[0]

    def _segments(self, batch: Batch) -> Tensor:
        if batch.visual_types is None:
            return self.text.types.weight[FIRST_IMAGE_TYPE]
        return self.text.types(batch.visual_types + FIRST_IMAGE_TYPE)
