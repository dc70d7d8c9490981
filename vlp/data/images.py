"""Images that others made: one reader for every dataset, which decodes nothing that it does not expect."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from vlp.durable.files import read_errors

Result = TypeVar("Result")

FORMATS = ("PNG", "JPEG")
MAX_PIXELS = 8192 * 8192
"""Pixels of an image that is decoded: 256 MiB as RGBA."""

LARGEST_FILE = 8 * MAX_PIXELS
"""Bytes of a file that is read: so many pixels as RGBA of 16 bits, not compressed."""

UNREADABLE = (
    *(OSError, SyntaxError, ValueError, TypeError, AttributeError, EOFError, LookupError, ArithmeticError),
    *(NotImplementedError, struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning),
)
"""What Pillow's decoders raise when bytes that were read whole are not what they say they are."""


def read_rgb(
    path: Path,
    formats: Sequence[str] = FORMATS,
    size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Return an image as RGB, decoded whole.

    Transparent parts are shown on white, 16 bits a channel become 8, palettes and CMYK are converted. An orientation in
    the metadata is not applied: boxes refer to the pixels as they are stored.

    Args:
        path: the file.
        formats: formats allowed, by Pillow's names, whatever the file's ending; JPEG includes cameras' MPO.
        size: width and height that it must have; None for any.
        max_pixels: more are refused before anything is decoded.

    Raises:
        ValueError: if it is no such image, or has another size, more frames than one or too many pixels; names the
            file, what was found and what was expected.
        OSError: if the file cannot be opened or read, naming it; it says nothing of the image.
    """
    if not path.is_file():
        raise ValueError(
            f"{path}: found {'a folder' if path.is_dir() else 'no file'}, expected {_expected(formats, size)}"
        )
    return decode_rgb(image_bytes(path), str(path), formats, size, max_pixels)


def image_bytes(path: Path, most: int | None = None) -> bytes:
    """Return what a file holds, of one that is longer than ``most`` bytes its first.

    Raises:
        ValueError: if it is asked for whole and larger than `LARGEST_FILE`, naming it.
        OSError: if it cannot be opened or read, naming it.
    """
    with read_errors(path), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if most is None and size > LARGEST_FILE:
            raise ValueError(f"{path}: found {size:,} bytes, expected an image of at most {LARGEST_FILE:,}")
        return file.read(most)


def decode_rgb(
    content: bytes,
    where: str,
    formats: Sequence[str] = FORMATS,
    size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Return the image that a file's bytes are as RGB; as `read_rgb`, whose errors name ``where``.

    Raises:
        ValueError: as `read_rgb`.
    """
    return _use(content, where, formats, size, max_pixels, _as_rgb)


def image_size(content: bytes, where: str) -> tuple[int, int]:
    """Return the width and height that the header of an image states, of which the rest may be missing.

    Raises:
        ValueError: if it is no image that `decode_rgb` would begin to decode, naming ``where``.
    """
    return _use(content, where, FORMATS, None, MAX_PIXELS, lambda image: image.size)


def _use(
    content: bytes,
    where: str,
    formats: Sequence[str],
    size: tuple[int, int] | None,
    max_pixels: int,
    use: Callable[[Image.Image], Result],
) -> Result:
    """Return what ``use`` makes of an image of which the header has been read."""
    try:
        with Image.open(io.BytesIO(content), formats=list(formats)) as image:
            found = _objection(image, size, max_pixels)
            if not found:
                return use(image)
    except UnidentifiedImageError:
        found = f"no {' or '.join(formats)} image (it begins with {content[:8]!r})"
    except UNREADABLE as error:
        found = f"no readable image ({str(error) or type(error).__name__})"
    raise ValueError(f"{where}: found {found}, expected {_expected(formats, size)}")


def _expected(formats: Sequence[str], size: tuple[int, int] | None) -> str:
    return f"{size[0]} x {size[1]} pixels" if size else f"one {' or '.join(formats)} image"


def _objection(image: Image.Image, size: tuple[int, int] | None, max_pixels: int) -> str:
    """Return what an image of which only the header was read has that it should not have."""
    if size is not None and image.size != size:
        return f"{image.width} x {image.height} pixels"
    if image.width * image.height > max_pixels:
        return f"{image.width} x {image.height} pixels, over {max_pixels:,} in all"
    if image.format == "PNG" and getattr(image, "is_animated", False):
        return f"an animation of {getattr(image, 'n_frames', 'several')} frames"
    return ""


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
