"""COCO and Visual Genome together, for pre-training: what Karpathy trains on, and what is not in COCO's evaluation.

About half of Visual Genome's images are photographs of COCO too. Such an image goes where COCO has it, so that no
photograph stands in two splits; those of COCO's val and test are left out. The others are divided by a hash.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlp.data.caption_table import PARTS, CaptionTable
from vlp.data.captioned_images import CaptionedImages
from vlp.data.coco import KARPATHY, read_coco
from vlp.data.dataset import VLDataset, check_root, check_split
from vlp.data.sample import Sample
from vlp.data.visual_genome import read_visual_genome

COCO, VISUAL_GENOME = "coco", "visual_genome"


class CocoVisualGenomeDataset(VLDataset):
    """COCO's captions, then Visual Genome's region descriptions; ids begin with ``coco-`` or ``vg-``.

    ``all`` is every sample of both, COCO's evaluation included.

    Args:
        split: train, val, test or all.
        root: a folder with the folders (or links) ``coco`` and ``visual_genome``, each with its official files.
        on_error: ``stop`` or ``skip``, as in `CaptionedImages`.

    Raises:
        ValueError: as `CaptionedImages`, or if COCO's files are without Karpathy's splits.
    """

    name = "coco_vg"
    annotations = frozenset({"pixels"})

    def __init__(self, split: str, root: str | Path | None, on_error: str) -> None:
        check_split(split, self.name)
        self.split = split
        folder = check_root(root, self.name)
        if missing := [name for name in (COCO, VISUAL_GENOME) if not (folder / name).is_dir()]:
            raise ValueError(f"dataset coco_vg: {folder} holds no folder {missing[0]}; give dataset.root=DIR")
        coco = read_coco(folder / COCO, KARPATHY, split)
        genome = read_visual_genome(folder / VISUAL_GENOME)
        coco_set = CaptionedImages(COCO, split, folder / COCO, on_error, coco, coco.parts)
        beside = parts_beside(coco, genome)
        genome_set = CaptionedImages(VISUAL_GENOME, split, folder / VISUAL_GENOME, on_error, genome, beside)
        self._datasets = ((COCO, coco_set), ("vg", genome_set))
        self._ends = list(accumulate(len(dataset) for _, dataset in self._datasets))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        name, dataset, at = self._find(index)
        return _named(name, dataset[at])

    def without_image(self, index: int) -> Sample:
        """Return a sample without opening its image, whose size is 0 x 0."""
        name, dataset, at = self._find(index)
        return _named(name, dataset.without_image(at))

    def caption(self, index: int) -> str:
        """Return a sample's caption."""
        _, dataset, at = self._find(index)
        return dataset.caption(at)

    def regions(self, index: int) -> None:
        """Return None: there are no regions."""
        return

    def image_id(self, index: int) -> str:
        """Return the id of a sample's image."""
        name, dataset, at = self._find(index)
        return f"{name}-{dataset.image_id(at)}"

    def images(self) -> NDArray[np.int64]:
        """Return (N,) a number for the image of each sample, even in COCO and odd in Visual Genome."""
        return np.concatenate([2 * dataset.images() + odd for odd, (_, dataset) in enumerate(self._datasets)])

    def image_key(self, index: int) -> str:
        """Return a name for the photograph, which is one whether COCO or Visual Genome has it."""
        name, dataset, at = self._find(index)
        coco_id = dataset.coco_id(at)
        return f"{name}-{dataset.image_id(at)}" if coco_id is None else f"{COCO}-{coco_id}"

    def _find(self, index: int) -> tuple[str, CaptionedImages, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index}: expected a number from 0 to {len(self) - 1}")
        which = bisect_right(self._ends, index)
        name, dataset = self._datasets[which]
        return name, dataset, index - self._ends[which] + len(dataset)


def _named(name: str, sample: Sample) -> Sample:
    return replace(sample, image_id=f"{name}-{sample.image_id}", sample_id=f"{name}-{sample.sample_id}")


def parts_beside(coco: CaptionTable, genome: CaptionTable) -> NDArray[np.uint8]:
    """Return the splits (I,) of Visual Genome's images beside COCO: none for a photograph that COCO evaluates on."""
    train, none = PARTS.index("train"), PARTS.index("none")
    of_coco = dict(zip(coco.image_ids.tolist(), coco.parts.tolist(), strict=True))
    pairs = zip(genome.coco_ids.tolist(), genome.parts.tolist(), strict=True)
    followed = ((own, of_coco.get(coco_id)) for coco_id, own in pairs)
    parts = [own if other is None else train if other == train else none for own, other in followed]
    return np.array(parts, dtype=np.uint8)
