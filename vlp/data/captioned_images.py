"""Images with captions from official files: what the datasets of photographs have in common."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from vlp.configs.showing import printable
from vlp.data.caption_table import PARTS, CaptionTable
from vlp.data.dataset import VLDataset
from vlp.data.image_files import ImageFiles, Place
from vlp.data.sample import Sample
from vlp.durable.digests import state_key
from vlp.durable.files import cache_folder, write_text

logger = logging.getLogger(__name__)

STOP, SKIP = "stop", "skip"
HOW_TO_SKIP = "; dataset.on_error=skip leaves such records out and lists them"


class CaptionedImages(VLDataset):
    """One sample a caption; the captions of an image stand together.

    Images lie below ``root``, or below its folder ``images`` where there is one: in folders as the official archives
    unpack, or in tar shards (`vlp.data.tar_shards`). What is left out is settled when the dataset is opened, so that
    its length and order do not change while it is used.

    Args:
        name: of the dataset.
        split: train, val, test or all.
        root: folder of the official files.
        on_error: ``stop`` at the first record that is not as it should be or has no image, and at an image that cannot
            be decoded when it is read; or ``skip`` all of these, for which every image is decoded once, when it is
            opened for the first time: they are counted, and listed in a file that the log names.
            What is not one image's fault stops either way: a file that cannot be read (it may be another time), a tar
            shard that is damaged, an image that two members hold.
        table: what the files say.
        parts: (I,) uint8, the split of each image, out of `PARTS`.

    Raises:
        ValueError: naming file, record, what was found and what was expected; or that nothing is left.
        OSError: naming a file that cannot be read.
    """

    annotations = frozenset({"pixels"})

    def __init__(
        self, name: str, split: str, root: Path, on_error: str, table: CaptionTable, parts: NDArray[np.uint8]
    ) -> None:
        if on_error not in (STOP, SKIP):
            raise ValueError(f"dataset {name}: found on_error={on_error!r}, expected {STOP} or {SKIP}")
        self.name, self.split, self.root = name, split, root
        self._table = table
        rows = np.arange(len(parts)) if split == "all" else np.flatnonzero(parts == PARTS.index(split))
        place = root / "images" if (root / "images").is_dir() else root
        self._files = ImageFiles(place, [table.files[row] for row in rows.tolist()])
        self._numbers = np.full(len(parts), -1, dtype=np.int32)
        self._numbers[rows] = np.arange(len(rows), dtype=np.int32)
        self._numbers[rows[self._left_out(on_error)]] = -1
        order = np.argsort(table.owners, kind="stable")
        self._captions = order[self._numbers[table.owners[order]] >= 0]
        if not len(self._captions):
            counts = np.bincount(parts, minlength=len(PARTS)).tolist()
            found = ", ".join(f"{part} {count}" for part, count in zip(PARTS, counts, strict=True) if count) or "none"
            raise ValueError(f"dataset {name}: split {split} of {root} holds no sample; images on record: {found}")

    def __len__(self) -> int:
        return len(self._captions)

    def __getitem__(self, index: int) -> Sample:
        place = self._files[int(self._numbers[self._rows(index)[1]])]
        width, height = _size(place)
        return replace(self.without_image(index), width=width, height=height, read_image=partial(_read, place))

    def without_image(self, index: int) -> Sample:
        """Return a sample without opening its image, whose size is 0 x 0."""
        caption, _ = self._rows(index)
        return Sample(
            image_id=self.image_id(index),
            caption=self._table.captions[caption],
            width=0,
            height=0,
            sample_id=str(self._table.caption_ids[caption]),
        )

    def caption(self, index: int) -> str:
        """Return a sample's caption."""
        return self._table.captions[self._rows(index)[0]]

    def regions(self, index: int) -> None:
        """Return None: there are no regions."""
        return

    def image_id(self, index: int) -> str:
        """Return the id of a sample's image."""
        return str(self._table.image_ids[self._table.owners[self._captions[index]]])

    def images(self) -> NDArray[np.int64]:
        """Return (N,) a number for the image of each sample."""
        return self._table.owners[self._captions]

    def coco_id(self, index: int) -> int | None:
        """Return what a sample's photograph is in COCO, None where that is not known."""
        found = int(self._table.coco_ids[self._rows(index)[1]])
        return None if found < 0 else found

    def _rows(self, index: int) -> tuple[int, int]:
        caption = int(self._captions[index])
        return caption, int(self._table.owners[caption])

    def _left_out(self, on_error: str) -> list[int]:
        """Return the numbers of the images that are left out, having told of all that is."""
        missing = self._files.missing()
        records = [self._table.problems[number] for number in range(len(self._table.problems))]
        absent = [f"no image {self._files[number]}, in a folder or in a tar shard" for number in missing]
        if on_error == STOP:
            if records:
                raise ValueError(f"{records[0]}{HOW_TO_SKIP}")
            if absent:
                of_all = f"{len(missing)} of {len(self._files.names)} images of split {self.split} are not there"
                raise ValueError(f"dataset {self.name}: {absent[0]}; {of_all}{HOW_TO_SKIP}")
            return []
        unreadable = self._files.unreadable()
        self._tell(len(records), len(missing), [*records, *absent, *unreadable.values()], len(unreadable))
        return [*missing, *unreadable]

    def _tell(self, records: int, missing: int, problems: list[str], unreadable: int) -> None:
        if not problems:
            return
        place = cache_folder("skipped") / f"{self.name}-{self.split}-{state_key(str(self.root.resolve()))[:12]}.txt"
        counts = f"{records} records, {missing} images that are not there and {unreadable} that cannot be read"
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_text(place, "".join(f"{printable(problem)}\n" for problem in problems))
            listed = f"listed in {place}"
        except OSError as error:
            listed = f"not listed ({error})"
        logger.warning("%s: left out of split %s: %s; %s", self.name, self.split, counts, listed)


def _read(place: Place) -> Image:
    """Return an image as RGB.

    Raises:
        ValueError: naming it and how to leave it out.
    """
    try:
        return place.read()
    except ValueError as error:
        raise ValueError(f"{error}{HOW_TO_SKIP}") from error


def _size(place: Place) -> tuple[int, int]:
    """Return the size of an image as it is on disk, where it may be smaller than the one that was annotated."""
    try:
        return place.image_size()
    except ValueError as error:
        raise ValueError(f"{error}{HOW_TO_SKIP}") from error
