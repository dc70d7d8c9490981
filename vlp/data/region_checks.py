"""What the regions of a batch have to be, checked for all of them at once; errors name the image and the sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vlp.configs.showing import shown
from vlp.data.sample import Regions, Sample

# Axes: B batch, V regions, F feature width.

ROUNDING = 1e-3
"""How far outside [0, 1] a box may lie: what half precision, in which features are stored, makes of 1."""


def check_shapes(regions: Sequence[Regions], samples: Sequence[Sample]) -> None:
    """Check that each image has regions, with one box and one feature each, and features of one width.

    Raises:
        ValueError: naming image and sample, what was found and what was expected.
    """
    width = regions[0].features.shape[-1] if regions[0].features.ndim else 0
    for own, sample in zip(regions, samples, strict=True):
        boxes, features, count = tuple(own.boxes.shape), tuple(own.features.shape), len(own.boxes)
        if not count:
            raise ValueError(f"{_name(sample)} has no region, expected one or more")
        if boxes != (count, 4) or features != (count, width) or not width:
            expected = f"(R, 4) and (R, {width or 'F'})"
            raise ValueError(f"{_name(sample)} has boxes {boxes} and features {features}, expected {expected}")
        if own.class_probs is not None and len(own.class_probs) != count:
            raise ValueError(f"{_name(sample)} has {len(own.class_probs)} class distributions for {count} regions")


def check_values(features_BVF: Tensor, boxes_BV4: Tensor, mask_BV: Tensor, samples: Sequence[Sample]) -> None:
    """Check that features are finite, and that boxes are in [0, 1] and have an area.

    Raises:
        ValueError: naming image and sample, what was found and what was expected.
    """
    is_finite_B = torch.isfinite(features_BVF).flatten(1).all(1)
    if not is_finite_B.all():
        raise ValueError(f"a feature of {_name(samples[_first(~is_finite_B)])} is not finite")
    is_inside_BV = ((boxes_BV4 >= -ROUNDING) & (boxes_BV4 <= 1 + ROUNDING)).all(-1)  # false for NaN
    low_BV2, high_BV2 = boxes_BV4.clamp(0, 1).split(2, dim=-1)
    is_box_BV = is_inside_BV & (low_BV2 < high_BV2).all(-1)
    is_bad_BV = mask_BV & ~is_box_BV
    if is_bad_BV.any():
        row = _first(is_bad_BV.any(1))
        raise ValueError(_describe(boxes_BV4[row], _first(is_bad_BV[row]), samples[row]))


def _describe(boxes_V4: Tensor, place: int, sample: Sample) -> str:
    x1, y1, x2, y2 = box = boxes_V4[place].tolist()
    found = f"box {place} of {_name(sample)} is ({', '.join(f'{value:.6g}' for value in box)})"
    if 1 + ROUNDING < max(box) <= max(sample.width, sample.height):
        advice = f"; these look like pixels: divide by {sample.width} and {sample.height}"
    elif x1 > x2 or y1 > y2:
        advice = "; it is inverted, or its last two numbers are width and height"
    else:
        advice = ""
    return f"{found}, expected x1 < x2 and y1 < y2 in [0, 1]{advice}"


def _first(is_wanted: Tensor) -> int:
    return int(is_wanted.nonzero()[0])


def _name(sample: Sample) -> str:
    return f"image {shown(sample.image_id)} (sample {shown(sample.sample_id)})"
