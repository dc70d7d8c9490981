"""Embedding of words and of a visual parser's grid (Xue et al., NeurIPS 2021, arXiv:2106.13488, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vlp.data.sample import Batch
from vlp.models.embeddings.base import Embedded, TextEmbeddings
from vlp.models.embeddings.pixels import ParsedEmbeddings, of_pairs, padded, pivot_cells
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

    @property
    def _vector(self) -> Tensor:
        if self.masked_cell is None:
            raise ValueError("the batch hides cells, and the model was built without a vector for them (masked_cell)")
        return self.masked_cell.weight

    def _parsed(self, batch: Batch, mask_IRC: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the images' features (I, V, F), and which cells of each pair are hidden (B, V), None for none."""
        if batch.pivots is None:
            return padded(self.parsed(batch, mask_IRC), mask_IRC.flatten(1)), batch.masked_regions
        if not isinstance(self.parser, SwinParser):
            raise ValueError(
                f"masking=parsed: {type(self.parser).__name__} has no attention map, expected a SwinParser"
            )
        assert batch.pixels is not None
        features_IRCF, attention_IVV = self.parser.parse(batch.pixels)
        mask_BV = of_pairs(mask_IRC.flatten(1), batch)
        hidden_BV = strongest(attention_IVV, mask_BV, batch.pivots, batch.num_hidden, batch.image_of)
        return features_IRCF.flatten(1, 2), hidden_BV


def strongest(
    attention_IVV: Tensor, mask_BV: Tensor, pivots_B: Tensor, count: int | None, image_of_B: Tensor | None = None
) -> Tensor:
    """Return (B, V) bool: of each pair its pivot and the real cells it attends to most, ``count`` in all.

    A cell's own weight has no say, as in ``(I + W) / 2``, where it is never below another's. NaN hides nothing.

    Args:
        attention_IVV: weights of each image's cells; rows are those that attend.
        mask_BV: true at real cells.
        pivots_B: in [0, 1), see `Batch.pivots`.
        count: `Batch.num_hidden`.
        image_of_B: which map each pair has; None for its own, in order.

    Raises:
        ValueError: if ``count`` is None or there are fewer cells.
    """
    if count is None or count > mask_BV.shape[1]:
        raise ValueError(f"num_hidden={count}: expected how many of {mask_BV.shape[1]} cells go with a pivot")
    pivot_B = pivot_cells(mask_BV, pivots_B)
    image_B = torch.arange(len(pivot_B), device=pivot_B.device) if image_of_B is None else image_of_B
    weight_BV = attention_IVV[image_B, pivot_B].masked_fill(~mask_BV, -torch.inf)
    weight_BV = weight_BV.scatter(1, pivot_B[:, None], torch.inf)
    chosen_BK = weight_BV.topk(count, dim=1).indices
    hidden_BV = torch.zeros_like(mask_BV).scatter(1, chosen_BK, True) & mask_BV
    return hidden_BV & ~pivots_B.isnan()[:, None]
