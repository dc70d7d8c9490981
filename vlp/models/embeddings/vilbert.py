"""ViLBERT's embedding of words and regions (Lu et al., NeurIPS 2019, arXiv:1908.02265; VOLTA's released code)."""

from __future__ import annotations

from torch import nn

from vlp.data.sample import Batch
from vlp.models.embeddings.base import Embedded, Embeddings, TextEmbeddings
from vlp.models.embeddings.regions import location_vector, region_inputs, with_global_region

LOCATION_WIDTH = 5


class ViLBertEmbeddings(Embeddings):
    """Region = LN(W feature + W location), dropout; words as in BERT. A masked region's feature is zeroed.

    Args:
        vocab_size: rows of the word table.
        feature_width: F of the region features.
        width: D of text.
        vision_width: D' of vision.
        positions: the longest caption in word pieces.
        dropout: after either stream's embedding.
        eps: LayerNorm's epsilon.
        global_region: see `Embeddings`.
    """

    def __init__(
        self,
        vocab_size: int,
        feature_width: int,
        width: int,
        vision_width: int,
        positions: int,
        dropout: float = 0.1,
        eps: float = 1e-12,
        global_region: str | None = "first",
    ) -> None:
        text = TextEmbeddings(vocab_size, width, positions, dropout=dropout, eps=eps)
        super().__init__(text, feature_width, global_region)
        self.features = nn.Linear(feature_width, vision_width)
        self.location = nn.Linear(LOCATION_WIDTH, vision_width)
        self.norm = nn.LayerNorm(vision_width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Embedded:
        """Return both streams."""
        regions = region_inputs(with_global_region(batch, self.global_region))
        place = self.location(location_vector(regions.boxes, LOCATION_WIDTH))
        vision = self.dropout(self.norm(self.features(regions.features) + place))
        return Embedded(self.text(batch.input_ids, batch.token_types), batch.text_mask, vision, regions.mask)
