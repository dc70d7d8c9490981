"""Embedding of words and of a visual parser's grid (Xue et al., NeurIPS 2021, arXiv:2106.13488, section 3.1)."""

from __future__ import annotations

from torch import nn

from vlp.data.sample import Batch
from vlp.models.embeddings.base import Embedded, TextEmbeddings
from vlp.models.embeddings.pixels import ParsedEmbeddings, padded
from vlp.models.parsers import Parser


class SwinVlpEmbeddings(ParsedEmbeddings):
    """Cell = LN(W feature + fixed position of row and column), dropout; words as in BERT.

    The paper gives the position a 2-D sine and no order of the two; this is SOHO's. Cells have no segment.
    Images are square.

    Args:
        vocab_size: rows of the word table.
        feature_width: taken and ignored: it reads pixels.
        width: D.
        positions: the longest caption in word pieces.
        parser: finds the grid of features.
        image_size: pixels a side.
        dropout: after either stream's embedding.
        eps: LayerNorm's epsilon.
    """

    def __init__(
        self,
        vocab_size: int,
        feature_width: int | None,
        width: int,
        positions: int,
        parser: Parser,
        image_size: int,
        dropout: float = 0.1,
        eps: float = 1e-12,
    ) -> None:
        del feature_width
        text = TextEmbeddings(vocab_size, width, positions, dropout=dropout, eps=eps)
        super().__init__(text, parser, image_size, longest=None)
        self.features = nn.Linear(parser.width, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Embedded:
        """Return both streams."""
        mask_BRC = self.cells(batch)
        mask_BV = mask_BRC.flatten(1)
        cells = padded(self.features(self.parsed(batch, mask_BRC)), mask_BV)
        vision = self.dropout(self.norm(self.placed(cells, mask_BRC)))
        return Embedded(self.text(batch.input_ids, batch.token_types), batch.text_mask, vision, mask_BV)
