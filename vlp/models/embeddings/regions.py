"""What region embeddings share: reading and checking a batch's regions, location vectors, the global row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vlp.data.sample import Batch

# Axes: B batch, V regions, F feature width.

FIRST, LAST = "first", "last"
"""Where a global row stands among the regions."""
WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)
NO_WORD = -1
"""In `Batch.alignment`: a place that no word fills."""


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


def with_global_region(batch: Batch, place: str | None) -> Batch:
    """Return ``batch`` with a row for the whole image among its regions: their mean feature, and the image as its box.

    Hidden regions count as zeros. The row is never hidden, has visual segment 0, and no word is aligned with it
    (Bugliarello et al. 2021 and their released code, ``add_global_imgfeat``).

    Args:
        batch: one with regions.
        place: ``first``, ``last`` (after the padding), or None for no such row.
    """
    if place is None:
        return batch
    regions = region_inputs(batch)
    is_real = regions.mask[..., None]
    mean = regions.features.masked_fill(~is_real, 0.0).sum(1, keepdim=True) / is_real.sum(1, keepdim=True)
    whole = regions.boxes.new_tensor(WHOLE_IMAGE).expand(len(batch), 1, -1)
    here = torch.ones_like(regions.mask[:, :1])
    fills = {"masked_regions": False, "visual_types": 0, "alignment": NO_WORD}
    others = {name: getattr(batch, name) for name in fills}
    with_fills: dict[str, Any] = {
        name: beside(rows, torch.full_like(rows[:, :1], fills[name]), place)
        for name, rows in others.items()
        if rows is not None
    }
    return replace(
        batch,
        features=beside(regions.features, mean, place),
        boxes=beside(regions.boxes, whole, place),
        region_mask=beside(regions.mask, here, place),
        **with_fills,
    )


def beside(rows: Tensor, row: Tensor, place: str | None) -> Tensor:
    """Return ``rows`` (B, V, ...) with ``row`` (B, 1, ...) first or last, or as they are where ``place`` is None."""
    if place is None:
        return rows
    return torch.cat([row, rows] if place == FIRST else [rows, row], dim=1)


def location_vector(boxes: Tensor, width: int) -> Tensor:
    """Return boxes (..., 4) as they are, with their area (5), or with size and area (7); all in [0, 1].

    Raises:
        ValueError: if there is no such width.
    """
    if width == 4:
        return boxes
    if width == 5:
        return corners_size_area(boxes)[..., [0, 1, 2, 3, 6]]
    if width == 7:
        return corners_size_area(boxes)
    raise ValueError(f"location_width={width}: expected 4 (corners), 5 (and area) or 7 (and size, area)")


def corners_size_area(boxes: Tensor) -> Tensor:
    """Return UNITER's location vector (..., 7): x1, y1, x2, y2, w, h, w * h, all in [0, 1], for boxes (..., 4)."""
    size = boxes[..., 2:] - boxes[..., :2]
    return torch.cat([boxes, size, size.prod(dim=-1, keepdim=True)], dim=-1)
