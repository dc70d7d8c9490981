"""COCO and Visual Genome in their official layout, with small images that a test draws."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image


def jpeg(colour=(200, 30, 60), size=(8, 6)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def put(path: Path, content: bytes | object) -> Path:
    """Write bytes, or anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def put_images(root: Path, names: Iterable[str]) -> None:
    """Write an image for each name, each of its own colour and size."""
    for number, name in enumerate(names):
        put(root / name, jpeg((number % 7 * 30, 90, 160), (8 + number % 5, 6)))


def put_tar(path: Path, members: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> Path:
    """Write a tar file as webdataset does: times with fractions, which take a header of their own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1_600_000_000.25 if form == tarfile.PAX_FORMAT else 0
            archive.addfile(info, io.BytesIO(content))
    return path


# COCO


def coco_name(image_id: int, folder: str) -> str:
    return f"COCO_{folder}_{image_id:012d}.jpg" if folder.endswith("2014") else f"{image_id:012d}.jpg"


def karpathy_record(image_id: int, split: str, captions: Iterable[str]) -> dict:
    folder = "train2014" if split == "train" else "val2014"
    sentences = [
        {"tokens": raw.lower().split(), "raw": raw, "imgid": 0, "sentid": 1000 * image_id + number}
        for number, raw in enumerate(captions)
    ]
    return {
        "filepath": folder,
        "sentids": [sentence["sentid"] for sentence in sentences],
        "filename": coco_name(image_id, folder),
        "imgid": 0,
        "split": split,
        "sentences": sentences,
        "cocoid": image_id,
    }


def put_karpathy(root: Path, records: Iterable[dict], with_images=True) -> Path:
    records = list(records)
    put(root / "dataset_coco.json", {"images": records, "dataset": "coco"})
    if with_images:
        put_images(root, [f"{record['filepath']}/{record['filename']}" for record in records])
    return root


def put_captions(root: Path, folder: str, captions: Mapping[int, Iterable[str]], with_images=True) -> Path:
    """Write one official file, its captions not in the order of the images."""
    images = [{"license": 3, "file_name": coco_name(number, folder), "id": number} for number in captions]
    texts = [(number, text) for number, several in captions.items() for text in several]
    annotations = [{"image_id": number, "id": 10 + at, "caption": text} for at, (number, text) in enumerate(texts)]
    document = {"info": {"year": 2014}, "images": images, "licenses": [], "annotations": annotations[::-1]}
    put(root / "annotations" / f"captions_{folder}.json", document)
    if with_images:
        put_images(root, [f"{folder}/{image['file_name']}" for image in images])
    return root


# Visual Genome


def put_genome(root: Path, phrases: Mapping[int, Iterable[str]], coco: Mapping[int, int] | None = None) -> Path:
    """Write both files and the images, those with even ids in the second folder."""
    images, regions = [], []
    for number, several in phrases.items():
        name = f"VG_100K{'' if number % 2 else '_2'}/{number}.jpg"
        address = f"https://cs.stanford.edu/people/rak248/{name}"
        known = {"coco_id": (coco or {}).get(number), "flickr_id": None}
        images.append({"width": 800, "url": address, "height": 600, "image_id": number, **known})
        descriptions = [
            {
                "region_id": 100 * number + at,
                "image_id": number,
                "phrase": text,
                "x": 1,
                "y": 2,
                "width": 3,
                "height": 4,
            }
            for at, text in enumerate(several)
        ]
        regions.append({"regions": descriptions, "id": number})
        put_images(root, [name])
    put(root / "image_data.json", images)
    put(root / "region_descriptions.json", regions)
    return root
