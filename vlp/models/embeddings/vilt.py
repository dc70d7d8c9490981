"""ViLT's embedding of words and patches (Kim et al., ICML 2021, arXiv:2102.03334; released code)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlp.data.pixels import HALF, PixelInput
from vlp.data.sample import Batch
from vlp.models.embeddings.base import Embedded, TextEmbeddings
from vlp.models.embeddings.pixels import PixelEmbeddings, by_place, of_pairs

# Axes: B pairs, I images, T text tokens, R rows and C columns of patches, V = R * C, K patches that are kept, D width.

TEXT, IMAGE = 0, 1
"""Rows of the modality table; NLVR2's second image has row 2."""


class ViltEmbeddings(PixelEmbeddings):
    """Patch = W pixels + position, dropout, + modality; before the patches a class token; words as in BERT, + modality.

    Images are preprocessed as released: resized whole, sides cut to whole patches, channels in [-1, 1].

    Positions are a learned grid, stretched bilinearly to the image's own rows and columns. The class token is attended
    like a global row of regions: observers see it, `Encoding.vision` has patches only.

    The released code puts an image's patches in a random order, in evaluation too, and where ``max_patches`` are fewer
    draws so many of them. Here both are for training alone; in evaluation patches stand row by row, all of them.

    Args:
        vocab_size: rows of the word table.
        feature_width: taken and ignored: it reads pixels.
        width: D.
        positions: the longest caption in word pieces.
        image_size: of the shorter side, in pixels.
        longest: most pixels of the longer side; None for square images.
        patch: pixels of a patch's side.
        grid: rows and columns of the learned positions.
        max_patches: most patches an image shows in training; None for all.
        shuffle: whether patches stand in a random order in training, which changes nothing but their order.
        modalities: rows of the modality table; fine-tuning on NLVR2 has 3.
        dropout: after either stream's embedding.
        eps: LayerNorm's epsilon.
    """

    def __init__(
        self,
        vocab_size: int,
        feature_width: int | None,
        width: int,
        positions: int,
        image_size: int,
        longest: int | None,
        patch: int,
        grid: int,
        max_patches: int | None = None,
        shuffle: bool = False,
        modalities: int = 2,
        dropout: float = 0.1,
        eps: float = 1e-12,
    ) -> None:
        del feature_width
        text = TextEmbeddings(vocab_size, width, positions, dropout=dropout, eps=eps)
        super().__init__(text, PixelInput(image_size, longest, patch, HALF, HALF))
        self.grid, self.max_patches, self.shuffle = grid, max_patches, shuffle
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.class_token = nn.Embedding(1, width)
        self.positions = nn.Embedding(1 + grid * grid, width)
        self.modalities = nn.Embedding(modalities, width)
        self.dropout = nn.Dropout(dropout)

    @property
    def first_region(self) -> int:
        """Where the first patch stands among the visual tokens: after the class token."""
        return 1

    def forward(self, batch: Batch) -> Embedded:
        """Return both streams; vision is the class token, then patches."""
        assert batch.pixels is not None
        mask_IRC = self.cells(batch)
        place = by_place(mask_IRC, self._positions, self.positions.embedding_dim)
        patches = of_pairs(self.patches(batch.pixels).flatten(2).transpose(1, 2) + place, batch)
        patches, mask = self._drawn(patches, of_pairs(mask_IRC.flatten(1), batch))
        first = (self.class_token.weight + self.positions.weight[:1]).expand(len(batch), 1, -1)
        vision = self.dropout(torch.cat([first.to(patches.dtype), patches], dim=1)) + self._modality(batch)
        text = self.text(batch.input_ids, batch.token_types) + self.modalities.weight[TEXT]
        return Embedded(text, batch.text_mask, vision, torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1))

    def vision_mask(self, batch: Batch) -> Tensor | None:
        """Return (B, 1 + V) bool: patches are real, padding and the class token are not; as in evaluation."""
        mask = super().vision_mask(batch)
        return None if mask is None else torch.cat([torch.zeros_like(mask[:, :1]), mask], dim=1)

    def without_global(self, vision: Tensor) -> Tensor:
        """Return states of visual tokens without the class token's."""
        return vision[:, 1:]

    def _positions(self, rows: int, columns: int) -> Tensor:
        """Return the grid of positions (R, C, D), corners on corners."""
        grid = self.positions.weight[1:].unflatten(0, (1, self.grid, self.grid)).permute(0, 3, 1, 2)
        return functional.interpolate(grid, (rows, columns), mode="bilinear", align_corners=True)[0].permute(1, 2, 0)

    def _modality(self, batch: Batch) -> Tensor:
        if batch.visual_types is None:
            return self.modalities.weight[IMAGE]
        return self.modalities(batch.visual_types[:, :1] + IMAGE)

    def _drawn(self, patches_BVD: Tensor, mask_BV: Tensor) -> tuple[Tensor, Tensor]:
        """Return the patches (B, K, D) that a training step sees, and which of them are real."""
        most = mask_BV.shape[1] if self.max_patches is None else self.max_patches
        if not self.training or (not self.shuffle and most >= mask_BV.shape[1]):
            return patches_BVD, mask_BV
        order_BV = torch.rand(mask_BV.shape, device=mask_BV.device).masked_fill(~mask_BV, -1.0)
        chosen_BK = order_BV.topk(min(most, mask_BV.shape[1]), dim=1).indices
        if not self.shuffle:
            chosen_BK = chosen_BK.sort(dim=1).values
        kept = patches_BVD.gather(1, chosen_BK[..., None].expand(-1, -1, patches_BVD.shape[-1]))
        return kept, mask_BV.gather(1, chosen_BK)
