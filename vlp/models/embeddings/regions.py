"""What region embeddings share: reading and checking a batch's regions, location vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vlp.data.sample import Batch

# Axes: B batch, V regions, F feature width.


@dataclass(frozen=True)
class RegionInputs:
    """Regions of a batch: ``features`` (B, V, F), ``boxes`` (B, V, 4) in [0, 1], ``mask`` (B, V) bool, true if real."""

    features: Tensor
    boxes: Tensor
    mask: Tensor


def region_inputs(batch: Batch, reader: str = "a region embedding") -> RegionInputs:
    """Return the regions of ``batch``, with zeros for the features that ``batch.masked_regions`` hides.

    Raises:
        ValueError: if the batch has no image, naming who needed one.
    """
    if batch.features is None or batch.boxes is None or batch.region_mask is None:
        raise ValueError(f"{reader} reads region features, boxes and a region mask; the batch has no image")
    features = batch.features
    if batch.masked_regions is not None:
        features = features.masked_fill(batch.masked_regions[..., None], 0.0)
    return RegionInputs(features, batch.boxes, batch.region_mask)


def check_regions(batch: Batch, feature_width: int, model: str) -> None:
    """Check that ``batch`` has regions that ``model`` can read.

    Raises:
        ValueError: if there is no image, if features are not ``feature_width`` wide, or if a row has no real region.
    """
    regions = region_inputs(replace(batch, masked_regions=None), model)
    found = regions.features.shape[-1]
    if found != feature_width:
        raise ValueError(f"{model} was built for region features {feature_width} wide, the batch's are {found} wide")
    has_region_B = regions.mask.any(dim=1)
    if not bool(has_region_B.all()):
        row = int((~has_region_B).nonzero()[0])
        raise ValueError(f"image without regions: row {row} of the batch has no real region, {model} needs at least 1")


def corners_size_area(boxes: Tensor) -> Tensor:
    """Return UNITER's location vector (..., 7): x1, y1, x2, y2, w, h, w * h, all in [0, 1], for boxes (..., 4)."""
    size = boxes[..., 2:] - boxes[..., :2]
    return torch.cat([boxes, size, size.prod(dim=-1, keepdim=True)], dim=-1)
