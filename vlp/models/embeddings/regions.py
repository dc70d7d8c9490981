"""What region embeddings share: checking a batch's regions, hiding masked features, location vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from vlp.data.sample import Batch

# Axes: B batch, V regions, F feature width.


def check_regions(batch: Batch, feature_width: int, model: str) -> None:
    """Check that ``batch`` has regions that ``model`` can read.

    Raises:
        ValueError: if there is no image, if features are not ``feature_width`` wide, or if a row has no real region.
    """
    if batch.features is None or batch.boxes is None or batch.region_mask is None:
        raise ValueError(f"{model} reads region features, boxes and a region mask; the batch has no image")
    found = batch.features.shape[-1]
    if found != feature_width:
        raise ValueError(f"{model} was built for region features {feature_width} wide, the batch's are {found} wide")
    has_region_B = batch.region_mask.any(dim=1)
    if not bool(has_region_B.all()):
        row = int((~has_region_B).nonzero()[0])
        raise ValueError(f"image without regions: row {row} of the batch has no real region, {model} needs at least 1")


def hide_features(batch: Batch) -> Tensor:
    """Return the features (B, V, F) with zeros where ``batch.masked_regions`` hides them."""
    if batch.masked_regions is None:
        return batch.features
    return batch.features.masked_fill(batch.masked_regions[..., None], 0.0)


def corners_size_area(boxes: Tensor) -> Tensor:
    """Return UNITER's location vector (..., 7): x1, y1, x2, y2, w, h, w * h, all in [0, 1], for boxes (..., 4)."""
    size = boxes[..., 2:] - boxes[..., :2]
    return torch.cat([boxes, size, size.prod(dim=-1, keepdim=True)], dim=-1)
