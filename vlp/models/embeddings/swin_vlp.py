"""Embedding of words and of a visual parser's grid (Xue et al., NeurIPS 2021, arXiv:2106.13488, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vlp.data.sample import Batch
from vlp.models.embeddings.base import Embedded, TextEmbeddings
from vlp.models.embeddings.pixels import ParsedEmbeddings, of_pairs, pivot_cells, spread
from vlp.models.parsers import Parser, SwinParser

# Axes: B pairs, I images, R rows and C columns of cells, V = R * C, F width of the parser's features, D width.


class SwinVlpEmbeddings(ParsedEmbeddings):
    """Cell = LN(W feature + fixed position of row and column), dropout; words as in BERT.

    The paper gives the position a 2-D sine and no order of the two; this is SOHO's. Cells have no segment.
    Images are square.

    A hidden cell has a learned vector in the place of W feature and keeps its position. Where the batch has pivots, the
    cells hidden of a pair are its pivot and those that the pivot attends to most in the parser's last map; where it has
    ``masked_regions``, they are those. `Embedded.targets` are all features as the parser found them, without gradient.

    Args:
        vocab_size: rows of the word table.
        feature_width: taken and ignored: it reads pixels.
        width: D.
        positions: the longest caption in word pieces.
        parser: finds the grid of features.
        image_size: pixels a side.
        masked_cell: whether it has the vector of a hidden cell; a training that hides none leaves it out.
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
        masked_cell: bool = True,
        dropout: float = 0.1,
        eps: float = 1e-12,
    ) -> None:
        del feature_width
        text = TextEmbeddings(vocab_size, width, positions, dropout=dropout, eps=eps)
        super().__init__(text, parser, image_size, longest=None)
        self.features = nn.Linear(parser.width, width)
        self.masked_cell = nn.Embedding(1, width) if masked_cell else None
        self.norm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Embedded:
        """Return both streams."""
        mask_IRC = self.cells(batch)
        mask_BV = of_pairs(mask_IRC.flatten(1), batch)
        features_IVF, hidden_BV = self._parsed(batch, mask_IRC)
        cells, targets = of_pairs(self.features(features_IVF), batch), None
        if hidden_BV is not None:
            cells = torch.where(hidden_BV[..., None], self._vector.to(cells.dtype), cells)
            targets = of_pairs(features_IVF.detach(), batch)
        vision = self.dropout(self.norm(self.placed(cells, batch, mask_IRC)))
        text = self.text(batch.input_ids, batch.token_types)
        return Embedded(text, batch.text_mask, vision, mask_BV, hidden_BV, targets)

    def attended_cells(self, batch: Batch) -> Tensor:
        """Return the cells (B, V) bool that ``batch`` hides by its pivots.

        Raises:
            ValueError: if it has no pivots, or the parser no attention.
        """
        _, hidden_BV = self._parsed(batch, self.cells(batch))
        if hidden_BV is None:
            raise ValueError("the batch has no pivots and no masked_regions, so that it hides nothing")
        return hidden_BV

    @property
    def _vector(self) -> Tensor:
        if self.masked_cell is None:
            raise ValueError("the batch hides cells, and the model was built without a vector for them (masked_cell)")
        return self.masked_cell.weight

    def _parsed(self, batch: Batch, mask_IRC: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the images' features (I, V, F), and which cells of each pair are hidden (B, V), None for none."""
        if batch.pivots is None:
            return spread(self.parsed(batch, mask_IRC), mask_IRC.flatten(1)), batch.masked_regions
        if not isinstance(self.parser, SwinParser):
            raise ValueError(
                f"masking=parsed: {type(self.parser).__name__} has no attention map, expected a SwinParser"
            )
        assert batch.pixels is not None
        features_IRCF, attention_IVV = self.parser.parse(batch.pixels)
        mask_BV = of_pairs(mask_IRC.flatten(1), batch)
        return features_IRCF.flatten(1, 2), strongest(attention_IVV, mask_BV, batch)


def strongest(attention_IVV: Tensor, mask_BV: Tensor, batch: Batch) -> Tensor:
    """Return (B, V) bool: of each pair its pivot and the real cells it attends to most, ``num_hidden`` in all.

    A cell's own weight has no say, as in ``(I + W) / 2``, where it is never below another's. NaN hides nothing.

    Args:
        attention_IVV: weights of each image's cells; rows are those that attend.
        mask_BV: true at real cells.
        batch: its pivots, ``num_hidden`` and ``image_of``.

    Raises:
        ValueError: if there are pivots and no ``num_hidden``, or fewer cells than that.
    """
    if batch.pivots is None or batch.num_hidden is None or batch.num_hidden > mask_BV.shape[1]:
        raise ValueError(
            f"num_hidden={batch.num_hidden}: expected how many of {mask_BV.shape[1]} cells go with a pivot"
        )
    pivot_B = pivot_cells(mask_BV, batch.pivots)
    image_B = torch.arange(len(pivot_B), device=pivot_B.device) if batch.image_of is None else batch.image_of
    weight_BV = attention_IVV[image_B, pivot_B].masked_fill(~mask_BV, -torch.inf)
    weight_BV = weight_BV.scatter(1, pivot_B[:, None], torch.inf)
    chosen_BK = weight_BV.topk(batch.num_hidden, dim=1).indices
    hidden_BV = torch.zeros_like(mask_BV).scatter(1, chosen_BK, True) & mask_BV
    return hidden_BV & ~batch.pivots.isnan()[:, None]
