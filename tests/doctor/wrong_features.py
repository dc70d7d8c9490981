"""Regions that are not what weights were trained on, and nothing but their numbers tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from vlp.data.dataset import VLDataset
from vlp.data.sample import Regions, Sample

Change = Callable[[Regions], Regions]


class Changed(VLDataset):
    """A dataset with other regions, which says nothing of what made them."""

    def __init__(self, dataset: VLDataset, change: Change) -> None:
        self.dataset, self.change = dataset, change
        self.name, self.split, self.annotations = dataset.name, dataset.split, dataset.annotations
        self.feature_width, self.num_classes = dataset.feature_width, dataset.num_classes
        self.fingerprint = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        assert sample.regions is not None
        return replace(sample, regions=self.change(sample.regions))

    def image_key(self, index: int) -> str:
        return self.dataset.image_key(index)


def as_they_are(regions: Regions) -> Regions:
    return regions


def shuffled(seed: int, regions: Regions) -> Regions:
    """Columns in another order."""
    generator = torch.Generator().manual_seed(seed)
    return replace(
        regions, features=regions.features[:, torch.randperm(regions.features.shape[1], generator=generator)]
    )


def extracted_otherwise(seed: int, regions: Regions) -> Regions:
    """What another network might make of the same things: as large, as sparse, never negative."""
    width = regions.features.shape[1]
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator) * (2 / width) ** 0.5
    return replace(regions, features=(regions.features @ mixing).relu())


def as_width_and_height(regions: Regions) -> Regions:
    """Boxes (x, y, w, h)."""
    return replace(regions, boxes=torch.cat([regions.boxes[:, :2], sides(regions.boxes)], dim=1))


def sides(boxes: Tensor) -> Tensor:
    return boxes[:, 2:] - boxes[:, :2]


def as_centres(regions: Regions) -> Regions:
    """Boxes (x, y, w, h) of centres."""
    centres = (regions.boxes[:, :2] + regions.boxes[:, 2:]) / 2
    return replace(regions, boxes=torch.cat([centres, sides(regions.boxes)], dim=1))


def rows_first(regions: Regions) -> Regions:
    """Boxes (y1, y2, x1, x2)."""
    return replace(regions, boxes=regions.boxes[:, [1, 3, 0, 2]])


def in_pixels(regions: Regions) -> Regions:
    return replace(regions, boxes=regions.boxes * 224)


def of_length_one(regions: Regions) -> Regions:
    return replace(regions, features=torch.nn.functional.normalize(regions.features))


def wrong(seed: int) -> dict[str, Change]:
    """Return every change that must not pass, by name."""
    return {
        "another extractor": partial(extracted_otherwise, seed),
        "shuffled columns": partial(shuffled, seed),
        "xywh": as_width_and_height,
        "centres": as_centres,
        "rows first": rows_first,
        "pixels": in_pixels,
        "length one": of_length_one,
    }
