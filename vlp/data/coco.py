"""COCO captions (Lin et al., ECCV 2014; Chen et al. 2015): reader of the official files and of Karpathy's splits.

Karpathy's ``dataset_coco.json`` holds all captions of 2014 with four splits, of which restval is trained on; the
official ``annotations/captions_{train,val}{2014,2017}.json`` hold those of one official split each.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from vlp.data.caption_table import CaptionTable, TableWriter, remembered_table
from vlp.data.captioned_images import CaptionedImages
from vlp.data.dataset import check_root, check_split, hashed_split
from vlp.data.fields import Fields
from vlp.data.json_entries import read_entries

logger = logging.getLogger(__name__)

KARPATHY = "karpathy"
KARPATHY_FILES = ("dataset_coco.json", "karpathy/dataset_coco.json", "annotations/dataset_coco.json")
KARPATHY_SPLITS = {"train": "train", "restval": "train", "val": "val", "test": "test"}
YEARS = ("2014", "2017")


class CocoDataset(CaptionedImages):
    """One sample a caption; images lie in ``train2014``, ``val2014`` and so on, or in tar shards.

    Karpathy's splits are Karpathy's, restval being part of train. Official train and val are those, and there is no
    test; a single one of them is divided 80/10/10 by a hash of the image id. ``all`` is every caption there is.

    Args:
        split: train, val, test or all.
        root: folder of the official files.
        on_error: ``stop`` or ``skip``, as in `CaptionedImages`.
        splits: ``karpathy``, ``2014`` or ``2017``; None for Karpathy's where its file is there, and else for the only
            year that is.

    Raises:
        ValueError: as `CaptionedImages`.
    """

    def __init__(self, split: str, root: str | Path | None, on_error: str, splits: str | int | None) -> None:
        check_split(split, "coco")
        folder = check_root(root, "coco")
        table = read_coco(folder, None if splits is None else str(splits), split)
        super().__init__("coco", split, folder, on_error, table, table.parts)


def read_coco(root: Path, splits: str | None, split: str) -> CaptionTable:
    """Return what the files below ``root`` say.

    Args:
        root: folder of the official files.
        splits: as in `CocoDataset`.
        split: that will be asked for.

    Raises:
        ValueError: if there is not the file that is needed, or it is not what it should be.
    """
    karpathy = next((root / name for name in KARPATHY_FILES if (root / name).is_file()), None)
    official = {year: files for year in YEARS if (files := _official_files(root, year))}
    there = [*([KARPATHY] if karpathy else []), *official]
    wanted = splits or (KARPATHY if karpathy else there[0] if len(there) == 1 else None)
    if wanted is None or wanted not in there:
        found = f"those of {' and '.join(there)}" if there else "no captions"
        known = " or ".join(there) or f"{KARPATHY_FILES[0]} or annotations/captions_train2014.json"
        how = "give dataset.splits or dataset.root"
        raise ValueError(f"dataset coco: {root} holds {found}, expected {splits or known}; {how}")
    if karpathy is not None and wanted == KARPATHY:
        return remembered_table("captions-karpathy-1", [karpathy], partial(_read_karpathy, karpathy))
    return _read_official(root, wanted, official[wanted], split)


def _official_files(root: Path, year: str) -> dict[str, Path]:
    files = {part: root / "annotations" / f"captions_{part}{year}.json" for part in ("train", "val")}
    return {part: file for part, file in files.items() if file.is_file()}


def _read_official(root: Path, year: str, files: dict[str, Path], split: str) -> CaptionTable:
    if len(files) == 1:
        logger.info("coco: only %s%s is in %s; %s is a part of it, by image", *files, year, root, split)
    elif split not in (*files, "all"):
        found = " and ".join(f"{part}{year}" for part in files)
        raise ValueError(
            f"dataset coco: {root} holds {found}, but split {split} needs {KARPATHY_FILES[0]} (Karpathy's splits)"
        )

    def read(writer: TableWriter) -> None:
        for part, file in files.items():
            _read_captions(file, f"{part}{year}", part if len(files) > 1 else None, writer)

    return remembered_table("captions-coco-1", list(files.values()), read)


def _read_captions(path: Path, folder: str, part: str | None, writer: TableWriter) -> None:
    """Read one official file, twice: images are known before captions, in whichever order they stand."""
    for _, where, values in read_entries(path, ("images",)):
        with writer.leaving_out():
            fields = Fields(where, values)
            image_id = fields.identifier("id")
            file = f"{folder}/{fields.name('file_name')}"
            writer.image(where, image_id, file, part or hashed_split(str(image_id)), image_id)
    for _, where, values in read_entries(path, ("annotations",)):
        with writer.leaving_out():
            fields = Fields(where, values)
            writer.caption(where, fields.identifier("image_id"), fields.identifier("id"), fields.text("caption"))


def _read_karpathy(path: Path, writer: TableWriter) -> None:
    for _, where, values in read_entries(path, ("images",)):
        with writer.leaving_out():
            fields = Fields(where, values)
            image_id, part = fields.identifier("cocoid"), fields.choice("split", tuple(KARPATHY_SPLITS))
            sentences = fields.objects("sentences")
            file = f"{fields.name('filepath')}/{fields.name('filename')}"
            writer.image(where, image_id, file, KARPATHY_SPLITS[part], image_id)
            writer.captions(f"{where}, sentences", image_id, sentences, "sentid", "raw")
