"""What annotation files say of images and their captions, as arrays: as compact as the files, and shared by workers."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlp.data.fields import Fields
from vlp.data.strings import Strings, StringsWriter
from vlp.durable.memory import remembered_arrays

logger = logging.getLogger(__name__)

# Axes: I images, N captions.

PARTS = ("none", "train", "val", "test")
"""What the numbers in `CaptionTable.parts` mean."""


@dataclass(frozen=True)
class CaptionTable:
    """Images, captions, and which records of the files are neither.

    Args:
        image_ids: (I,) int64.
        files: of the images, ``FOLDER/NAME``.
        parts: (I,) uint8, the split that the image is in, out of `PARTS`.
        coco_ids: (I,) int64, what the photograph is in COCO, -1 for none known.
        caption_ids: (N,) int64.
        owners: (N,) int64, the image of each caption.
        captions: as the files have them.
        problems: what is wrong with the records that were left out.
    """

    image_ids: NDArray[np.int64]
    files: Strings
    parts: NDArray[np.uint8]
    coco_ids: NDArray[np.int64]
    caption_ids: NDArray[np.int64]
    owners: NDArray[np.int64]
    captions: Strings
    problems: Strings


def remembered_table(kind: str, files: Sequence[Path], read: Callable[[TableWriter], None]) -> CaptionTable:
    """Return the table that ``read`` writes from ``files``, remembered until one of them changes.

    Args:
        kind: which reader, with a number that is raised when it reads otherwise.
        files: what is read.
        read: writes the table.
    """

    def arrays() -> dict[str, NDArray[Any]]:
        logger.info("reading %s, once until that changes", " and ".join(map(str, files)))
        writer = TableWriter()
        read(writer)
        return _flat(writer.table())

    return _of_flat(remembered_arrays(kind, files, arrays))


class TableWriter:
    """Makes a `CaptionTable`, record by record."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._parts, self._coco_ids = array("B"), array("q")
        self._caption_ids, self._owners = array("q"), array("q")
        self._files, self._captions, self._problems = StringsWriter(), StringsWriter(), StringsWriter()

    def image(self, where: str, image_id: int, file: str, part: str, coco_id: int = -1) -> None:
        """Add an image.

        Raises:
            ValueError: if its id was added before.
        """
        if image_id in self._rows:
            raise ValueError(f"{where}: found image {image_id} again, expected each image once")
        self._rows[image_id] = len(self._rows)
        self._files.add(file)
        self._parts.append(PARTS.index(part))
        self._coco_ids.append(coco_id)

    def caption(self, where: str, image_id: int, caption_id: int, text: str) -> None:
        """Add a caption of an image.

        Raises:
            ValueError: if there is no such image, or nothing is written.
        """
        if image_id not in self._rows:
            raise ValueError(f"{where}: found a caption of image {image_id}, which is none of the images")
        if not text.strip():
            raise ValueError(f"{where}: found the caption {text!r}, expected words")
        self._owners.append(self._rows[image_id])
        self._caption_ids.append(caption_id)
        self._captions.add(text)

    def captions(
        self, where: str, image_id: int, objects: Iterable[dict[str, Any]], id_field: str, text_field: str
    ) -> None:
        """Add the captions of an image, a list of objects that stands at ``where``, leaving out what is none."""
        for number, values in enumerate(objects):
            with self.leaving_out():
                found = Fields(f"{where}[{number}]", values)
                self.caption(found.where, image_id, found.identifier(id_field), found.text(text_field))

    @contextmanager
    def leaving_out(self) -> Iterator[None]:
        """Leave out a record at the first ValueError within, adding what is wrong with it."""
        try:
            yield
        except ValueError as error:
            self._problems.add(str(error))

    def table(self) -> CaptionTable:
        """Return what was added."""
        return CaptionTable(
            image_ids=np.fromiter(self._rows, dtype=np.int64, count=len(self._rows)),
            files=self._files.strings(),
            parts=np.array(self._parts, dtype=np.uint8),
            coco_ids=np.array(self._coco_ids, dtype=np.int64),
            caption_ids=np.array(self._caption_ids, dtype=np.int64),
            owners=np.array(self._owners, dtype=np.int64),
            captions=self._captions.strings(),
            problems=self._problems.strings(),
        )


LETTERS, ENDS = "_letters", "_ends"


def _flat(table: CaptionTable) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for field in fields(table):
        value = getattr(table, field.name)
        if isinstance(value, Strings):
            arrays |= {field.name + LETTERS: value.letters, field.name + ENDS: value.ends}
        else:
            arrays[field.name] = value
    return arrays


def _of_flat(arrays: Mapping[str, NDArray[Any]]) -> CaptionTable:
    values: dict[str, Any] = {}
    for field in fields(CaptionTable):
        name = field.name
        values[name] = arrays[name] if name in arrays else Strings(arrays[name + LETTERS], arrays[name + ENDS])
    return CaptionTable(**values)
