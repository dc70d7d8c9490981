"""VL-BERT's embedding of words and regions (Su et al., ICLR 2020, arXiv:1908.08530; VOLTA's released code)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vlp.data.sample import Batch
from vlp.models.embeddings.base import Embedded, Embeddings, TextEmbeddings
from vlp.models.embeddings.regions import LAST, region_inputs, with_global_region

# Axes: B batch, T text tokens, V visual tokens (the global row among them), F feature width, D width.

TYPES = 3
REGION_TYPE = 2
PERCENT = 100.0
LONGEST_WAVE = 1000.0
COORDINATES = 4
WAVES = 256
"""Sines, and as many cosines, of each coordinate."""
PLACES_AFTER_TEXT = 2
"""Positions that follow those of a caption: of its regions, and of its end."""


class VLBertEmbeddings(Embeddings):
    """Region = LN(LN(look) + linguistic vector + position after the text + segment 2), look = ReLU(W [box; feature]).

    Words = LN(word + LN(look of the whole image) + position + segment), with the same last LayerNorm. All regions have
    the position that follows the caption's last token, and one linguistic vector; the whole image, which ends the
    sequence, has the next position and a vector of its own. Both LayerNorms of looks start at weight 0: a model begins
    as if it saw nothing. A box is sines and cosines of its centre and size. A masked region's feature becomes a learned
    vector.

    The original's whole image is its last row (``global_region=last``). The controlled model puts it first, and its
    released code still takes the last row for it: all words see the last region, which gets the end's vector and
    position, while the whole image counts as a region. ``released_behaviour`` does so too (the last real region, where
    images have not equally many); it also takes every row of zeros for a masked one, as that code does. Weights trained
    so have to be run so. By default the whole image is where it was put, and what is masked is what the batch says.

    Args:
        vocab_size: rows of the word table.
        feature_width: F of the region features.
        width: D.
        positions: rows of the position table; the longest caption in word pieces is two shorter.
        dropout: of looks before their projection, and after the last LayerNorm.
        eps: LayerNorm's epsilon.
        has_masked_object: whether a masked region's linguistic vector is a learned one of its own (the original, which
            asks for its class), rather than that of all regions.
        global_region: where the whole image is put, ``first`` or ``last``.

    Raises:
        ValueError: if there is no row for the whole image.
    """

    released_behaviour = False

    def __init__(
        self,
        vocab_size: int,
        feature_width: int,
        width: int,
        positions: int,
        dropout: float = 0.1,
        eps: float = 1e-12,
        has_masked_object: bool = True,
        global_region: str | None = LAST,
    ) -> None:
        text = TextEmbeddings(vocab_size, width, positions, TYPES, dropout, eps)
        super().__init__(text, feature_width, global_region)
        if global_region is None:
            raise ValueError("global_region=null: words of VL-BERT see the whole image; expected first or last")
        self.look = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(2 * COORDINATES * WAVES + feature_width, width), nn.ReLU()
        )
        self.look_norm = nn.LayerNorm(width, eps=eps)
        self.text_look_norm = nn.LayerNorm(width, eps=eps)
        self.region_word = nn.Embedding(1, width)
        self.end_word = nn.Embedding(1, width)
        self.masked_word = nn.Embedding(1, width) if has_masked_object else None
        self.masked_feature = nn.Embedding(1, feature_width)

    @property
    def max_positions(self) -> int:
        """The longest caption in word pieces."""
        return super().max_positions - PLACES_AFTER_TEXT

    def initialise_own(self) -> None:
        """Set the weights of both LayerNorms of looks, and the mask vector, to 0."""
        for part in (self.look_norm, self.text_look_norm, self.masked_feature):
            nn.init.zeros_(part.weight)

    def forward(self, batch: Batch) -> Embedded:
        """Return both streams."""
        batch = with_global_region(batch, self.global_region)
        regions = region_inputs(batch)
        is_masked_BV = self._masked(batch, regions.features)
        features = torch.where(is_masked_BV[..., None], self.masked_feature.weight[0], regions.features)
        look = self.look(torch.cat([waves(regions.boxes), features.to(regions.boxes.dtype)], dim=-1))
        is_whole_BV = self._whole_image(regions.mask)
        whole_look_B1D = (look * is_whole_BV[..., None]).sum(1, keepdim=True)
        text = self.text(batch.input_ids, batch.token_types, self.text_look_norm(whole_look_B1D))
        after_B1 = batch.text_mask.sum(1, keepdim=True)
        place = self.text.positions(after_B1 + is_whole_BV)
        word = self._words(is_masked_BV, is_whole_BV)
        summed = self.look_norm(look) + word + place + self.text.types.weight[REGION_TYPE]
        return Embedded(text, batch.text_mask, self.text.dropout(self.text.norm(summed)), regions.mask)

    def _masked(self, batch: Batch, features: Tensor) -> Tensor:
        if self.released_behaviour:
            return (features == 0).all(-1)
        if batch.masked_regions is None:
            return torch.zeros_like(features[..., 0], dtype=torch.bool)
        return batch.masked_regions

    def _whole_image(self, mask_BV: Tensor) -> Tensor:
        """Return (B, V) bool, true at the row that is taken for the whole image."""
        order_V = torch.arange(mask_BV.shape[1], device=mask_BV.device)
        if self.released_behaviour:
            return order_V == (order_V * mask_BV).amax(1, keepdim=True)
        return (order_V == (0 if self.first_region else len(order_V) - 1)).expand_as(mask_BV)

    def _words(self, is_masked_BV: Tensor, is_whole_BV: Tensor) -> Tensor:
        words = self.region_word.weight[0]
        if self.masked_word is not None:
            words = torch.where(is_masked_BV[..., None], self.masked_word.weight[0], words)
        return torch.where(is_whole_BV[..., None], self.end_word.weight[0], words)


def waves(boxes: Tensor) -> Tensor:
    """Return sines and cosines (..., 2048) of centre x, centre y, width and height in percent, for boxes (..., 4).

    Of each coordinate 256 sines, then 256 cosines, with wave lengths that grow from 1 to 1000 (times 2 pi).
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    values = PERCENT * torch.cat([(low + high) / 2, high - low], dim=-1)
    exponent = torch.arange(WAVES, device=boxes.device, dtype=values.dtype) / WAVES
    angles = values[..., None] / LONGEST_WAVE**exponent
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)
