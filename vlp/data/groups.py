"""Several texts an image: captions that are true of it and captions of others, so that it is parsed once for all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlp.data.dataset import VLDataset

# Axes: G groups, K matched captions of a group.


@dataclass(frozen=True)
class Texts:
    """How many texts an image has in a batch.

    Args:
        matched: captions that are true of it, 1 or more.
        unmatched: captions of other images, each equally likely.
        longest: word pieces of a caption, [CLS] and [SEP] included, after which it is cut; None: never.

    Raises:
        ValueError: if a number is too small.
    """

    matched: int = 2
    unmatched: int = 2
    longest: int | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.matched < 1 or self.unmatched < 0:
            found = f"matched={self.matched} and unmatched={self.unmatched}"
            raise ValueError(f"{found}: expected at least 1 caption that is true of the image, and no negative number")
        if self.longest is not None and self.longest < 3:
            raise ValueError(
                f"longest={self.longest}: expected 3 word pieces or more, of which two are [CLS] and [SEP]"
            )

    def __len__(self) -> int:
        """Return the number of texts an image has."""
        return self.matched + self.unmatched


def matched_groups(dataset: VLDataset, size: int) -> NDArray[Any]:
    """Return (G, K) the places in ``dataset`` of ``size`` captions of one image each, in the order of the images.

    Captions that the data say are not true of their image have no place. An image with more than ``size`` captions has
    several groups; where they do not fill the last, its first ones fill it up.
    """
    images = dataset.images()
    told = np.flatnonzero(images >= 0)
    _, first, numbers, counts = np.unique(images[told], return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)  # images as they come, not by their numbers
    members = told[np.argsort(first[numbers], kind="stable")]
    starts, counts = (np.cumsum(counts[order]) - counts[order])[:, None], counts[order][:, None]
    groups = -(-counts[:, 0] // size)
    image = np.repeat(np.arange(len(order)), groups)
    begin = size * (np.arange(len(image)) - np.repeat(np.cumsum(groups) - groups, groups))
    return members[starts[image] + (begin[:, None] + np.arange(size)) % counts[image]]
