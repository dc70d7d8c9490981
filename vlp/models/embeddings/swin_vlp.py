"""Embedding of words and of a visual parser's grid (Xue et al., NeurIPS 2021, arXiv:2106.13488, section 3.1)."""

from __future__ import annotations

from torch import Tensor, nn

from vlp.data.pixels import PixelInput
from vlp.data.sample import Batch
from vlp.models.embeddings.base import Embedded, Embeddings, TextEmbeddings
from vlp.models.embeddings.pixels import by_place, cell_mask, check_pixels, parsed, sine_positions, spread
from vlp.models.parsers import Parser


class SwinVlpEmbeddings(Embeddings):
    """Cell = LN(W feature + fixed position of row and column), dropout; words as in BERT.

    The paper gives the position a 2-D sine and no order of the two; this is SOHO's. Cells have no segment.

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

    reads = "pixels"

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
        super().__init__(TextEmbeddings(vocab_size, width, positions, dropout=dropout, eps=eps), feature_width=None)
        self.input = PixelInput(image_size, None, parser.stride)
        self.parser = parser
        self.features = nn.Linear(parser.width, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    @property
    def pixel_input(self) -> PixelInput:
        """Square images with ImageNet's normalisation, for which the parser was trained."""
        return self.input

    def check(self, batch: Batch, model: str) -> None:
        """Check that ``batch`` has pixels that make whole cells.

        Raises:
            ValueError: if it has not.
        """
        check_pixels(batch, self.input, model)

    def initialise_own(self) -> None:
        """Draw the parser's weights as timm does."""
        self.parser.initialise()

    def forward(self, batch: Batch) -> Embedded:
        """Return both streams."""
        mask_BRC = cell_mask(batch, self.parser.stride)
        found_ND = self.features(parsed(self.parser, batch, mask_BRC, self.parser.stride))
        mask_BV = mask_BRC.flatten(1)
        width, device = self.features.out_features, found_ND.device
        place = by_place(mask_BRC, lambda rows, columns: sine_positions(rows, columns, width, device), width)
        vision = self.dropout(self.norm(spread(found_ND, mask_BV) + place))
        return Embedded(self.text(batch.input_ids, batch.token_types), batch.text_mask, vision, mask_BV)

    def vision_mask(self, batch: Batch) -> Tensor | None:
        """Return which cells are real, (B, V) bool, row by row."""
        return None if batch.pixel_mask is None else cell_mask(batch, self.parser.stride).flatten(1)
