"""SOHO's embedding of words and of a convolutional grid (Huang et al., CVPR 2021, arXiv:2104.03135; released code)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vlp.data.sample import Batch
from vlp.models.embeddings.base import Embedded, TextEmbeddings
from vlp.models.embeddings.dictionary import VisualDictionary
from vlp.models.embeddings.pixels import ParsedEmbeddings, of_pairs, padded, pivot_cells
from vlp.models.parsers import Parser

# Axes: B pairs, I images, R rows and C columns of cells, V = R * C, N real cells of a batch, D width.


class SohoEmbeddings(ParsedEmbeddings):
    """Cell = LN(feature mixed with its entry of the visual dictionary + fixed position), dropout; words as in BERT.

    Images keep their proportions, their sides cut to whole cells.

    Where the batch has pivots, the cells of the pivot's image that share its entry are hidden together, by a learned
    vector in the place of the mixture; `Embedded.targets` are the numbers of the entries. Masks of padding are right on
    both axes (the released code takes the height for both).

    Args:
        vocab_size: rows of the word table.
        feature_width: taken and ignored: it reads pixels.
        width: D.
        positions: the longest caption in word pieces.
        parser: finds the grid of features.
        image_size: of the shorter side, in pixels.
        longest: most pixels of the longer side; None for square images.
        entries: of the visual dictionary.
        momentum: of the visual dictionary.
        gate: mix by weights that a cell's feature and entry decide (the released pre-training) instead of adding.
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
        longest: int | None,
        entries: int,
        momentum: float = 0.99,
        gate: bool = True,
        dropout: float = 0.1,
        eps: float = 1e-12,
    ) -> None:
        del feature_width
        text = TextEmbeddings(vocab_size, width, positions, dropout=dropout, eps=eps)
        super().__init__(text, parser, image_size, longest)
        self.features = nn.Linear(parser.width, width, bias=False)
        self.features_norm = nn.BatchNorm1d(width)
        self.dictionary = VisualDictionary(entries, width, momentum)
        self.entry = nn.Linear(width, width)
        self.gate = nn.Linear(2 * width, 2) if gate else None
        self.masked_cell = nn.Embedding(1, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Embedded:
        """Return both streams."""
        mask_IRC = self.cells(batch)
        mask_IV = mask_IRC.flatten(1)
        features_ND = self.features_norm(self.features(self.parsed(batch, mask_IRC)))
        entries_ND, numbers_N = self.dictionary(features_ND)
        cells = of_pairs(padded(self._mixed(features_ND, entries_ND), mask_IV), batch)
        numbers_IV = torch.full_like(mask_IV, -1, dtype=torch.long).masked_scatter(mask_IV, numbers_N)
        mask_BV, numbers_BV = of_pairs(mask_IV, batch), of_pairs(numbers_IV, batch)
        hidden_BV = None if batch.pivots is None else alike(numbers_BV, mask_BV, batch.pivots)
        if hidden_BV is not None:
            cells = torch.where(hidden_BV[..., None], self.masked_cell.weight.to(cells.dtype), cells)
        vision = self.dropout(self.norm(self.placed(cells, batch, mask_IRC)))
        text = self.text(batch.input_ids, batch.token_types)
        return Embedded(text, batch.text_mask, vision, mask_BV, hidden_BV, numbers_BV)

    def _mixed(self, features_ND: Tensor, entries_ND: Tensor) -> Tensor:
        projected_ND = self.entry(entries_ND)
        if self.gate is None:
            return features_ND + projected_ND
        share_N2 = self.gate(torch.cat([entries_ND, features_ND], dim=1)).softmax(dim=1)
        return share_N2[:, :1] * projected_ND + share_N2[:, 1:] * features_ND


def alike(numbers_BV: Tensor, mask_BV: Tensor, pivots_B: Tensor) -> Tensor:
    """Return (B, V) bool: the real cells of each image that have the number of the cell at its pivot; none for NaN.

    Args:
        numbers_BV: of entries.
        mask_BV: true at real cells.
        pivots_B: in [0, 1), see `Batch.pivots`.
    """
    number_B1 = numbers_BV.gather(1, pivot_cells(mask_BV, pivots_B)[:, None])
    return mask_BV & (numbers_BV == number_B1) & ~pivots_B.isnan()[:, None]
