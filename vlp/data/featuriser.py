"""Region features of drawn images: a fixed, seeded function of the pixels of each crop and of nothing else.

Stands in for a detector's pooled layer: non-negative, sparse, and with shape and colour nearly linearly decodable. A
crop is sampled on a grid; its corners give the background's colour; how far each cell is from that gives a silhouette,
and the mean colour weighted by it the colour of the thing. A fixed random projection mixes all three.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Axes: R regions, G grid cells a side, F feature width.

GRID = 16
COARSE = 8
SEED = 20_210_501
STEPS = (np.arange(GRID) + 0.5) / GRID


class CropFeaturiser:
    """Turns crops into features (R, F).

    Args:
        width: feature width F, at least 16.

    Raises:
        ValueError: if ``width`` is below 16.
    """

    def __init__(self, width: int = 64) -> None:
        if width < 16:
            raise ValueError(f"feature_width must be at least 16, got {width}")
        self.width = width
        rng = np.random.default_rng(np.random.SeedSequence((SEED, width)))
        self._projection = _projection(rng, width)
        self._bias = rng.normal(0.1, 0.2, width).astype(np.float32)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What made the features, as plain data."""
        return {
            "extractor": f"vlp-crop-{SEED}",
            "dimensions": self.width,
            "box_order": "xyxy",
            "normalisation": "image_size",
        }

    def __call__(self, pixels: NDArray[np.uint8], boxes: NDArray[np.floating[Any]]) -> Tensor:
        """Return features (R, F) of ``boxes`` (R, 4), in [0, 1], of an image (H, W, 3)."""
        rows, columns = sample_grid(boxes, pixels.shape[0], pixels.shape[1])
        return self.from_samples(pixels[rows, columns])

    def from_samples(self, samples: NDArray[np.uint8]) -> Tensor:
        """Return features (R, F) of crops sampled by `sample_grid`, (R, G, G, 3)."""
        description = _describe(samples.astype(np.float32) / np.float32(255))
        return torch.from_numpy(np.maximum(description @ self._projection + self._bias, 0))


def sample_grid(boxes: NDArray[np.floating[Any]], height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pixel rows (R, G, 1) and columns (R, 1, G) nearest to the centres of a grid over each box."""
    corners = np.asarray(boxes, dtype=np.float64)
    low, high = corners[:, None, :2], corners[:, None, 2:]
    size = np.array([width, height])
    points = ((low + (high - low) * STEPS[:, None]) * size).astype(np.intp)  # (R, G, 2): column and row
    points = np.minimum(np.maximum(points, 0), size - 1)
    return points[:, :, None, 1], points[:, None, :, 0]


def _describe(crops: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each crop's silhouette, colour and background: (R, COARSE * COARSE + 3 + 3)."""
    count = len(crops)
    corners = np.sort(crops[:, [0, 0, -1, -1], [0, -1, 0, -1]], axis=1)
    background = corners[:, 1:3].mean(1)  # the median of four
    distance = np.abs(crops - background[:, None, None]).sum(-1)
    contrast = distance / (distance.max((1, 2), keepdims=True) + 0.1)
    weights = contrast**2
    thing = np.einsum("rgh,rghc->rc", weights, crops) / (weights.sum((1, 2)) + 1e-3)[:, None]
    cell = GRID // COARSE
    silhouette = contrast.reshape(count, COARSE, cell, COARSE, cell).mean((2, 4)).reshape(count, -1)
    return np.concatenate([silhouette - 0.5, thing - 0.5, background - 0.75], axis=1)


def _projection(rng: np.random.Generator, width: int) -> NDArray[np.float32]:
    """Return the mixing matrix; each kind of input gets a scale of its own."""
    cells = COARSE * COARSE
    scales = np.concatenate([np.full(cells, 3 / COARSE), np.full(3, 1.2), np.full(3, 0.4)])
    return (rng.normal(size=(cells + 6, width)) * scales[:, None]).astype(np.float32)
