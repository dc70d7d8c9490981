"""NLVR (Suhr et al., "A Corpus of Natural Language for Visual Reasoning", ACL 2017): reader of the official files.

``ROOT/<split>/<split>.json`` holds one JSON object a line; beside it are six drawings of each, k from 0 to 5, as
``images/<directory>/<split>-<identifier>-<k>.png``. A drawing shows the three lists of the record ("panels") in the
k-th order of `ORDERS`; each item's box follows from the record alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from vlp.data.bounded_cache import BoundedCache
from vlp.data.dataset import VLDataset, check_root, check_split, hashed_split
from vlp.data.featuriser import CropFeaturiser
from vlp.data.images import read_rgb
from vlp.data.nlvr_records import COLOURS, NUM_IMAGES, PANEL_SIDE, SHAPES, SIZES, Item, Record, read_records
from vlp.data.sample import AnnotatedObject, Regions, Sample

logger = logging.getLogger(__name__)

WIDTH, HEIGHT = 400, 100
PANEL_STARTS = (0, 150, 300)
ORDERS = tuple(permutations(range(3)))
"""Which list each panel shows, by image number."""

OFFICIAL_SPLITS = {"train": "train", "dev": "val", "test": "test"}
"""Folders of the release, and what they are called here."""

SIZE_WORDS = {10: "small", 20: "medium", 30: "large"}

CLASS_NAMES = (
    *(f"{SIZE_WORDS[size]} {colour} {shape}" for shape in SHAPES for colour in COLOURS.values() for size in SIZES),
    "panel",
)
"""Shape by shape, colour within shape, size within colour; a grey panel is a class of its own."""


class Drawing(NamedTuple):
    """One sample: a record, and which of its six images."""

    record: Record
    number: int

    @property
    def path(self) -> Path:
        """The image's file."""
        return self.record.image_path(self.number)


class NLVRDataset(VLDataset):
    """One sample an image on disk; ``is_matched`` and ``label`` say whether the sentence is true of it.

    Regions are the items' boxes, panel by panel from the left, then the three panels; class distributions are one-hot.
    Where ``root`` has two or more official splits, train, val and test are those (dev is val). A single one is divided
    80/10/10 by a hash of the sentence group, so that neither a sentence nor a set of four (records with the same first
    number, which share one) stands in two parts. ``all`` is every image there is.

    Args:
        split: train, val, test or all.
        root: folder of the official files.
        feature_width: columns of the features.
        cache: how many images' regions are kept in memory.

    Raises:
        ValueError: if files are missing or a record is not as it should be, naming file, line, field, what was found
            and what was expected.
    """

    name = "nlvr"
    annotations = frozenset({"regions", "gold", "class_probs", "pixels", "objects", "label"})
    class_names = CLASS_NAMES
    num_classes = 1 + len(CLASS_NAMES)
    truth_annotated = True

    def __init__(self, split: str, root: str | Path | None, feature_width: int, cache: int) -> None:
        check_split(split, self.name)
        self.split = split
        self.root = check_root(root, self.name)
        self.featuriser = CropFeaturiser(feature_width)
        self.feature_width = feature_width
        self.fingerprint = self.featuriser.fingerprint
        self._cache: BoundedCache[Regions] = BoundedCache(cache)
        records = _select(self.root, split)
        self._groups = sentence_groups(records)
        if _official(self.root, split) is None:
            records = [record for record in records if hashed_split(self._groups[record.group]) == split]
        self._drawings = [Drawing(record, number) for record in records for number in record.images]
        if missing := NUM_IMAGES * len(records) - len(self._drawings):
            logger.warning("nlvr: %d of %d images are not in %s", missing, NUM_IMAGES * len(records), self.root)
        if not self._drawings:
            raise ValueError(f"dataset nlvr: split {split} of {self.root} holds no sample")

    def __len__(self) -> int:
        return len(self._drawings)

    def __getitem__(self, index: int) -> Sample:
        return replace(self.without_regions(index), regions=self.regions(index))

    def without_regions(self, index: int) -> Sample:
        """Return a sample without its regions."""
        drawing = self._drawings[index]
        record = drawing.record
        return Sample(
            image_id=self.image_id(index),
            caption=record.sentence,
            width=WIDTH,
            height=HEIGHT,
            sample_id=drawing.path.stem,
            objects=tuple(_objects(drawing)),
            label=record.label,
            is_matched=self.is_matched(index),
            read_image=partial(read_drawing, drawing.path),
        )

    def caption(self, index: int) -> str:
        """Return a sample's sentence."""
        return self._drawings[index].record.sentence

    def regions(self, index: int) -> Regions:
        """Return a sample's regions."""
        drawing = self._drawings[index]
        return self._cache.get(drawing.path, partial(self._read, drawing))

    def image_id(self, index: int) -> str:
        """Return the name of a sample's drawing."""
        return self._drawings[index].path.stem

    def is_matched(self, index: int) -> bool:
        """Return whether a sample's sentence is true of its drawing."""
        return self._drawings[index].record.label == "true"

    def image_key(self, index: int) -> str:
        """Return the sentence group, which images and paraphrases of one set share."""
        return self._groups[self._drawings[index].record.group]

    def _read(self, drawing: Drawing) -> Regions:
        boxes = region_boxes(drawing)
        pixels = np.asarray(read_drawing(drawing.path))
        class_ids = torch.tensor(_class_ids(drawing))
        return Regions(
            boxes=boxes,
            features=self.featuriser(pixels, boxes.numpy()),
            confidence=torch.ones(len(boxes)),
            class_probs=torch.nn.functional.one_hot(class_ids + 1, self.num_classes).float(),
            gold=torch.ones(len(boxes), dtype=torch.bool),
            class_ids=class_ids,
        )


def read_drawing(path: Path) -> Image:
    """Return a drawing as RGB (the files are RGBA).

    Raises:
        ValueError: if it is no PNG image or has another size.
    """
    return read_rgb(path, formats=("PNG",), size=(WIDTH, HEIGHT))


def region_boxes(drawing: Drawing) -> Tensor:
    """Return the boxes (R, 4) of a drawing's items and of its three panels, in [0, 1]."""
    items = [(left + item.x, item.y, left + item.x + item.size, item.y + item.size) for left, item in _items(drawing)]
    panels = [(start, 0, start + PANEL_SIDE, PANEL_SIDE) for start in PANEL_STARTS]
    return torch.tensor(items + panels, dtype=torch.float32) / torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])


def sentence_groups(records: list[Record]) -> dict[str, str]:
    """Return each set's group: the sets that sentences join, directly or through others.

    Sentences are equal if they differ in case and spacing only. A group is named by the first of its sentences in
    alphabetical order.
    """
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        while leader.setdefault(key, key) != key:
            leader[key] = leader[leader[key]]
            key = leader[key]
        return key

    for record in records:
        sentence = "=" + " ".join(record.sentence.lower().split())
        first, second = find(record.group), find(sentence)
        # A sentence always leads a set, and the alphabetically first of two sentences the other.
        top, below = sorted((first, second), key=lambda key: (not key.startswith("="), key))
        leader[below] = top
    return {record.group: find(record.group).removeprefix("=") for record in records}


def _items(drawing: Drawing) -> Iterator[tuple[int, Item]]:
    """Yield each item of a drawing with the left edge of its panel."""
    for left, which in zip(PANEL_STARTS, ORDERS[drawing.number], strict=True):
        for item in drawing.record.panels[which]:
            yield left, item


def _class_ids(drawing: Drawing) -> list[int]:
    shapes, colours = list(SHAPES), list(COLOURS)
    ids = [
        (shapes.index(item.shape) * len(colours) + colours.index(item.colour)) * len(SIZES) + SIZES.index(item.size)
        for _, item in _items(drawing)
    ]
    return ids + [len(CLASS_NAMES) - 1] * len(PANEL_STARTS)


def _objects(drawing: Drawing) -> Iterator[AnnotatedObject]:
    for at, ((_, item), box) in enumerate(zip(_items(drawing), region_boxes(drawing), strict=False)):
        yield AnnotatedObject(str(at), (item.shape,), box, (COLOURS[item.colour], SIZE_WORDS[item.size]))


def _official(root: Path, split: str) -> str | None:
    """Return the folder that is ``split``, or None where a single one has to be divided."""
    present = _present(root)
    if split == "all":
        return "all"
    if len(present) == 1:
        return None
    folder = next(folder for folder, name in OFFICIAL_SPLITS.items() if name == split)
    if folder not in present:
        raise ValueError(
            f"dataset nlvr: {root} holds {', '.join(present)}, but split {split} needs {folder}/{folder}.json"
        )
    return folder


def _select(root: Path, split: str) -> list[Record]:
    present, folder = _present(root), _official(root, split)
    if folder is None:
        logger.info("nlvr: only %s is in %s; %s is a part of it, by sentence", present[0], root, split)
    wanted = [folder] if folder in present else present
    return [record for name in wanted for record in read_records(root, name)]


def _present(root: Path) -> list[str]:
    present = [folder for folder in OFFICIAL_SPLITS if (root / folder / f"{folder}.json").is_file()]
    if not present:
        expected = " or ".join(f"{folder}/{folder}.json" for folder in OFFICIAL_SPLITS)
        raise ValueError(f"dataset nlvr: {root} holds no {expected}; give dataset.root=DIR, the folder that does")
    return present
