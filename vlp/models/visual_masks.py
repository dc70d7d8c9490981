"""Cells that masked feature regression hides, parsed and at random (Xue et al., NeurIPS 2021, figure 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vlp.models.embeddings.swin_vlp import strongest
from vlp.models.parsers import SwinParser

# Axes: B images, R rows and C columns of cells, V = R * C, F feature width.


@dataclass(frozen=True)
class VisualMasks:
    """Cells of images by row and column, (B, R, C).

    ``features`` (B, R, C, F) are what the parser found. ``pivot`` bool is the cell that was drawn, ``attention`` what
    it attends to, summing to 1, ``parsed`` bool it and the cells it attends to most, ``random`` bool it and as many
    others drawn without replacement: its control. (``masking=random`` of a training draws all cells, without a pivot.)
    """

    features: Tensor
    pivot: Tensor
    attention: Tensor
    parsed: Tensor
    random: Tensor


@torch.no_grad()
def visual_masks(parser: SwinParser, pixels: Tensor, k: int = 7, seed: int = 0) -> VisualMasks:
    """Return both kinds of mask for images, and the features of the same pass, on the processor.

    Args:
        parser: whose last map is looked at, as in evaluation.
        pixels: (B, 3, H, W), normalised as it reads them.
        k: cells of a mask, the pivot among them.
        seed: of pivots and random cells; the same pivot whatever the parser.

    Raises:
        ValueError: if the images have no more than ``k`` cells.
    """
    was_training = parser.training
    features_BRCF, attention_BVV = parser.eval().parse(pixels)
    parser.train(was_training)
    size, rows, columns = features_BRCF.shape[:3]
    if not 1 <= k < rows * columns:
        raise ValueError(f"k={k}: expected at least 1 and fewer than the {rows * columns} cells of an image")
    generator = torch.Generator().manual_seed(seed)
    pivots_B, order_BV = torch.rand(size, generator=generator), torch.rand(size, rows * columns, generator=generator)
    attention_BVV = attention_BVV.cpu()
    real_BV = torch.ones_like(order_BV, dtype=torch.bool)
    pivot_BV = strongest(attention_BVV, real_BV, pivots_B, 1)
    found = (
        pivot_BV,
        attention_BVV[pivot_BV],
        strongest(attention_BVV, real_BV, pivots_B, k),
        torch.zeros_like(real_BV).scatter(1, order_BV.masked_fill(pivot_BV, torch.inf).topk(k).indices, True),
    )
    return VisualMasks(features_BRCF.cpu(), *(mask_BV.unflatten(1, (rows, columns)) for mask_BV in found))
