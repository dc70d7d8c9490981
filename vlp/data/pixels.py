"""How an image becomes what a model reads: resized, normalised, padded to the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from vlp.data.sample import Sample

# Axes: B batch, H height, W width.

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
"""Mean and standard deviation that bring pixels to [-1, 1]."""


@dataclass(frozen=True)
class PixelInput:
    """The pixels a model reads: the whole image, resized and normalised.

    Nothing is cropped and nothing mirrored, since captions say what is in the image and where.

    Args:
        shortest: pixels of the shorter side.
        longest: most pixels of the longer side, the shorter one giving way; None for a square image, whatever the
            proportions were.
        multiple: both sides are cut down to a multiple of it, one at least.
        mean, std: of red, green and blue, in [0, 1].

    Raises:
        ValueError: if a side is smaller than ``multiple`` or ``longest`` smaller than ``shortest``.
    """

    shortest: int
    longest: int | None
    multiple: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        """Check the sides."""
        if not 1 <= self.multiple <= self.shortest:
            raise ValueError(
                f"shortest={self.shortest}: expected at least multiple={self.multiple}, and that at least 1"
            )
        if self.longest is not None and self.longest < self.shortest:
            raise ValueError(f"longest={self.longest}: expected at least shortest={self.shortest}")

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height that an image of ``width`` x ``height`` pixels gets.

        ViLT's released rule: scale the shorter side, scale back if the longer is too long, round, cut to the multiple.
        """
        if self.longest is None:
            return self._cut(self.shortest), self._cut(self.shortest)
        scale = self.shortest / min(width, height)
        scale *= min(1.0, self.longest / (scale * max(width, height)))
        return self._cut(int(scale * width + 0.5)), self._cut(int(scale * height + 0.5))

    def grid(self, sample: Sample) -> tuple[int, int]:
        """Return the rows and columns of a sample's image in squares whose side is ``multiple``."""
        width, height = self.resized(sample.width, sample.height)
        return height // self.multiple, width // self.multiple

    def read(self, sample: Sample) -> Tensor:
        """Return the pixels (3, H, W) of a sample's image.

        Raises:
            ValueError: naming the sample that has no image.
        """
        image = sample.image()
        if image is None:
            raise ValueError(
                f"image {sample.image_id!r} (sample {sample.sample_id!r}) has no pixels, the model reads them"
            )
        small = image.resize(self.resized(*image.size), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1).float().div_(255)
        mean, std = torch.tensor(self.mean)[:, None, None], torch.tensor(self.std)[:, None, None]
        return pixels.sub_(mean).div_(std)

    def collate(self, samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
        """Return the pixels (B, 3, H, W) of the samples' images, 0 at padding, and their mask (B, H, W) bool."""
        images = [self.read(sample) for sample in samples]
        height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
        room = [(0, width - image.shape[2], 0, height - image.shape[1]) for image in images]
        pixels = torch.stack([functional.pad(image, margin) for image, margin in zip(images, room, strict=True)])
        mask = torch.zeros(len(images), height, width, dtype=torch.bool)
        for row, image in zip(mask, images, strict=True):
            row[: image.shape[1], : image.shape[2]] = True
        return pixels, mask

    def _cut(self, side: int) -> int:
        return max(self.multiple, side // self.multiple * self.multiple)
