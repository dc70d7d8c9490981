"""A dataset small enough to be worked through by hand."""

from functools import partial

import torch
from PIL import Image

from vlp.data.dataset import VLDataset
from vlp.data.sample import Regions, Sample

CAPTIONS = ("a red dog", "a blue car near a tree", "the cat", "two birds and a boat", "a man", "a hat on a chair")


class HandMade(VLDataset):
    """Sample i has caption i, i % 3 + 1 regions, features that are all i, and an image of one colour."""

    name = "hand_made"
    annotations = frozenset({"regions", "class_probs", "pixels"})
    feature_width = 4
    num_classes = 3

    def __init__(self, size: int = len(CAPTIONS), truth_annotated: bool = False) -> None:
        self.size = size
        self.truth_annotated = truth_annotated

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        if index >= self.size:
            raise IndexError(index)
        count = index % 3 + 1
        regions = Regions(
            boxes=torch.tensor([[0.1, 0.2, 0.5, 0.6]]).repeat(count, 1),
            features=torch.full((count, 4), float(index)),
            confidence=torch.ones(count),
            class_probs=torch.tensor([[0.2, 0.5, 0.3]]).repeat(count, 1),
        )
        caption = CAPTIONS[index % len(CAPTIONS)]
        is_matched = not self.truth_annotated or index % 2 == 0
        paint = partial(Image.new, "RGB", (100, 50), (index * 40 % 256, 80, 255 - index * 10 % 256))
        return Sample(
            f"image{index}", caption, 100, 50, f"sample{index}", regions, is_matched=is_matched, read_image=paint
        )


BAD = 7
"""The sample of `Overflowing` with which numbers go wrong."""


class Overflowing(HandMade):
    """One sample has features that are finite and too large for any layer."""

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        if index == BAD:
            assert sample.regions is not None
            sample.regions.features.fill_(3e38)
        return sample
