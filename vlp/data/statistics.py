"""Figures of a dataset that probes and controls need."""

from __future__ import annotations

import torch
from torch import Tensor

from vlp.data.dataset import VLDataset
from vlp.data.pixels import PixelInput


def mean_feature(dataset: VLDataset, num_samples: int = 256) -> Tensor:
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


def mean_pixel(dataset: VLDataset, pixel_input: PixelInput, num_samples: int = 256) -> Tensor:
    """Return the mean colour (3,), as the model reads it, of the first ``num_samples`` samples' images."""
    total, count = torch.zeros(3, dtype=torch.float64), 0
    for index in range(min(num_samples, len(dataset))):
        pixels = pixel_input.read(dataset[index])
        total = total + pixels.double().sum((1, 2))
        count += pixels[0].numel()
    return (total / count).float()


def with_mean_pixel(pixels: Tensor, pixel_mask: Tensor, mean: Tensor) -> Tensor:
    """Return pixels (B, 3, H, W) that all have the mean colour (3,), 0 at padding."""
    return mean.to(pixels)[:, None, None] * pixel_mask[:, None]


def with_mean_feature(features_BVF: Tensor, region_mask_BV: Tensor, mean_F: Tensor) -> Tensor:
    """Return features (B, V, F) in which every real region has the mean feature."""
    return torch.where(region_mask_BV[..., None], mean_F.to(features_BVF), features_BVF)
