"""Visual Genome (Krishna et al., IJCV 2017): reader of the official region descriptions.

``region_descriptions.json`` holds some fifty phrases an image, each of a part of it; ``image_data.json`` says in which
of the two folders ``VG_100K`` and ``VG_100K_2`` an image lies, and which photograph of COCO it is, if any.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from vlp.data.caption_table import CaptionTable, TableWriter, remembered_table
from vlp.data.captioned_images import CaptionedImages
from vlp.data.dataset import check_root, check_split, hashed_split
from vlp.data.fields import Fields
from vlp.data.json_entries import read_entries
from vlp.data.paths import plain_name

IMAGES, REGIONS = "image_data.json", "region_descriptions.json"


class VisualGenomeDataset(CaptionedImages):
    """One sample a region description, with the whole image.

    There are no official splits: train, val and test are 80/10/10 by a hash of the image id.

    Args:
        split: train, val, test or all.
        root: folder of the official files.
        on_error: ``stop`` or ``skip``, as in `CaptionedImages`.

    Raises:
        ValueError: as `CaptionedImages`.
    """

    def __init__(self, split: str, root: str | Path | None, on_error: str) -> None:
        check_split(split, "visual_genome")
        folder = check_root(root, "visual_genome")
        table = read_visual_genome(folder)
        super().__init__("visual_genome", split, folder, on_error, table, table.parts)


def read_visual_genome(root: Path) -> CaptionTable:
    """Return what the files below ``root`` say.

    Raises:
        ValueError: if one is not there or not what it should be.
    """
    files = [root / name for name in (IMAGES, REGIONS)]
    for file in files:
        if not file.is_file():
            raise ValueError(f"dataset visual_genome: {root} holds no {file.name}; give dataset.root=DIR")
    return remembered_table("captions-visual-genome-1", files, partial(_read, files[0], files[1]))


def _read(images: Path, regions: Path, writer: TableWriter) -> None:
    for _, where, values in read_entries(images):
        with writer.leaving_out():
            fields = Fields(where, values)
            image_id = fields.identifier("image_id")
            coco_id = -1 if values.get("coco_id") is None else fields.identifier("coco_id")
            writer.image(where, image_id, _file(fields), hashed_split(str(image_id)), coco_id)
    for _, where, values in read_entries(regions):
        with writer.leaving_out():
            fields = Fields(where, values)
            image_id, descriptions = fields.identifier("id"), fields.objects("regions")
            writer.captions(f"{where}, regions", image_id, descriptions, "region_id", "phrase")


def _file(fields: Fields) -> str:
    """Return the folder and the name in which the address of an image ends."""
    path = urlsplit(fields.text("url")).path.split("/")
    if len(path) < 2:
        raise fields.error("url", fields.values["url"], "an address that ends in FOLDER/NAME.jpg")
    return "/".join(plain_name(part, f"{fields.where}: field url") for part in path[-2:])
