"""Figures of a dataset that probes and controls need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from vlp.configs.showing import shown
from vlp.data.dataset import VLDataset
from vlp.data.pixels import PixelInput
from vlp.data.sample import Regions

# Axes: B batch, V regions, F feature width, R regions of an image, H height, W width.

NUM_SAMPLES = 256
"""How many samples a mean image is of, whatever the length of the dataset."""

NUM_SPREAD = 128
"""How many samples `RegionStatistics` are of, likewise: a fraction of a second's work before training starts."""


@dataclass(frozen=True)
class RegionStatistics:
    """What the regions of a dataset are like, by numbers alone: no name has to be believed.

    Args:
        samples: how many samples the numbers are of.
        feature_means: of each feature column, over all their regions.
        feature_sd: standard deviation within a column: the root of the columns' mean variance.
        box_means: of x1, y1, x2 and y2.
        box_sds: of the same.
    """

    samples: int
    feature_means: tuple[float, ...]
    feature_sd: float
    box_means: tuple[float, ...]
    box_sds: tuple[float, ...]

    def record(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Any, where: str) -> RegionStatistics:
        """Return what `record` gave.

        Raises:
            ValueError: if these are no such numbers; names ``where``.
        """
        try:
            return cls(
                samples=_whole(record["samples"], "samples"),
                feature_means=_numbers(record["feature_means"], "feature_means"),
                feature_sd=_numbers([record["feature_sd"]], "feature_sd", count=1, least=0)[0],
                box_means=_numbers(record["box_means"], "box_means", count=4),
                box_sds=_numbers(record["box_sds"], "box_sds", count=4, least=0),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{where}: no statistics of regions ({type(error).__name__}: {error})") from error


def _whole(value: Any, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{key} {shown(value)}, expected a whole number from 1")
    return value


def _numbers(values: Any, key: str, count: int | None = None, least: float = -math.inf) -> tuple[float, ...]:
    """Return a list of finite numbers from ``least``, ``count`` of them where that is given, and at least one."""
    is_list = isinstance(values, list | tuple) and len(values) > 0 and count in (None, len(values))
    if not is_list or not all(_is_finite(value) and value >= least for value in values):
        expected = f"finite numbers{'' if least < 0 else ' from 0'}{f', {count} of them' if count else ''}"
        raise ValueError(f"{key} {shown(values)}, expected {expected}")
    return tuple(map(float, values))


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def region_statistics(regions: Iterable[Regions | None]) -> RegionStatistics | None:
    """Return the statistics of the regions of some samples, one image at a time.

    None where there is no region, or a number is not finite.
    """
    totals, samples, count = torch.zeros(2, 1, dtype=torch.float64), 0, 0
    for own in regions:
        if own is not None and len(own):
            values = torch.cat([own.boxes.double(), own.features.double()], dim=1)
            totals = totals + torch.stack([values.sum(0), values.square().sum(0)])
            samples, count = samples + 1, count + len(own)
    if not count or not totals.isfinite().all():
        return None
    means = totals[0] / count
    variances = (totals[1] / count - means.square()).clamp(min=0)
    return RegionStatistics(
        samples,
        feature_means=_rounded(means[4:]),
        feature_sd=_rounded(variances[4:].mean().sqrt()[None])[0],
        box_means=_rounded(means[:4]),
        box_sds=_rounded(variances[:4].sqrt()),
    )


def spread(length: int, count: int) -> Iterator[int]:
    """Yield at most ``count`` of the places below ``length``, equally far apart; the same ones each time."""
    taken = min(count, length)
    return (step * length // taken for step in range(taken))


def _rounded(values: Tensor) -> tuple[float, ...]:
    """Return six digits of each value, which no order of adding up changes."""
    return tuple(float(f"{value:.6g}") for value in values.tolist())


def mean_feature(dataset: VLDataset, num_samples: int = NUM_SAMPLES) -> Tensor:
    """Return the mean feature (F,) over every region of the first ``num_samples`` samples: an image that says nothing.

    Raises:
        ValueError: if these samples have no region.
    """
    total, count = torch.zeros(1, dtype=torch.float64), 0
    for index in range(min(num_samples, len(dataset))):
        regions = dataset.regions(index)
        if regions is not None and len(regions):
            total = total + regions.features.double().sum(0)
            count += len(regions)
    if not count:
        raise ValueError(f"{dataset.name} split={dataset.split}: no region in the first {num_samples} samples")
    return (total / count).float()


def with_mean_feature(features_BVF: Tensor, region_mask_BV: Tensor, mean_F: Tensor) -> Tensor:
    """Return features (B, V, F) in which every real region has the mean feature."""
    return torch.where(region_mask_BV[..., None], mean_F.to(features_BVF), features_BVF)


def mean_colour(dataset: VLDataset, pixel_input: PixelInput, num_samples: int = NUM_SAMPLES) -> Tensor:
    """Return the mean (3,) of every pixel of the first ``num_samples`` images, as a model reads them."""
    total, count = torch.zeros(3, dtype=torch.float64), 0
    for index in range(min(num_samples, len(dataset))):
        pixels_3HW = pixel_input.read(dataset[index])
        total = total + pixels_3HW.double().sum((1, 2))
        count += pixels_3HW[0].numel()
    return (total / count).float()


def with_mean_colour(pixels_B3HW: Tensor, pixel_mask_BHW: Tensor, mean_3: Tensor) -> Tensor:
    """Return pixels (B, 3, H, W) of which every real one has the mean colour: an image that says its size alone."""
    return torch.where(pixel_mask_BHW[:, None], mean_3.to(pixels_B3HW)[:, None, None], pixels_B3HW)
