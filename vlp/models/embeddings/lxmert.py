"""LXMERT's embedding of words and regions (Tan and Bansal, EMNLP 2019, arXiv:1908.07490; released code)."""

from __future__ import annotations

from torch import nn

from vlp.data.sample import Batch
from vlp.models.embeddings.base import Embedded, Embeddings, TextEmbeddings
from vlp.models.embeddings.regions import location_vector, region_inputs, with_global_region

FROZEN_ROW = 0
"""The released code makes row 0 of all three text tables a padding row: position 0 ([CLS]'s) and segment 0 (every
token's) keep their random initial values for ever. We follow it, in value and in gradient."""


class LxmertEmbeddings(Embeddings):
    """Region = (LN(W feature) + LN(W box)) / 2, dropout; words as in BERT, with row 0 of each table never trained.

    There is no segment of regions and no mask vector: a masked region's feature is zeroed (the paper's 80 %; its random
    and unchanged 10 % are the masking's affair).

    Args:
        vocab_size: rows of the word table.
        feature_width: F of the region features.
        width: D.
        positions: the longest caption in word pieces.
        dropout: after either stream's embedding.
        eps: LayerNorm's epsilon.
        location_width: 4 for boxes (x1, y1, x2, y2) in [0, 1], 5 with their area.
        frozen_row: of the three text tables, never trained; None for no such row.
        global_region: see `Embeddings`.
    """

    def __init__(
        self,
        vocab_size: int,
        feature_width: int,
        width: int,
        positions: int,
        dropout: float = 0.1,
        eps: float = 1e-12,
        location_width: int = 4,
        frozen_row: int | None = FROZEN_ROW,
        global_region: str | None = None,
    ) -> None:
        text = TextEmbeddings(vocab_size, width, positions, dropout=dropout, eps=eps, frozen_row=frozen_row)
        super().__init__(text, feature_width, global_region)
        self.location_width = location_width
        self.features = nn.Linear(feature_width, width)
        self.features_norm = nn.LayerNorm(width, eps=eps)
        self.location = nn.Linear(location_width, width)
        self.location_norm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Embedded:
        """Return both streams."""
        regions = region_inputs(with_global_region(batch, self.global_region))
        look = self.features_norm(self.features(regions.features))
        place = self.location_norm(self.location(location_vector(regions.boxes, self.location_width)))
        vision = self.dropout((look + place) / 2)
        return Embedded(self.text(batch.input_ids, batch.token_types), batch.text_mask, vision, regions.mask)
