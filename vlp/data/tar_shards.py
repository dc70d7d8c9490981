"""Tar files of images, read at any place: an index of where each member begins, made once.

The layout is webdataset's: ``KEY.jpg`` beside whatever else there is of KEY; a key is a member's name without its
folders and from its first dot on. Nothing is unpacked, and no name in an archive becomes a path.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import numpy as np

from vlp.configs.showing import shown
from vlp.data.strings import Strings
from vlp.durable.files import read_errors
from vlp.durable.memory import Arrays, remembered_arrays

BLOCK = 512
LONGEST_HEADER = 1024**2
"""Bytes of a header that carries a long name."""

LARGEST_IMAGE = 64 * 1024**2
"""Bytes of an image in an archive."""

ENDINGS = frozenset({"jpg", "jpeg", "png"})
WITHOUT_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
PAX_HEADERS = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
OF_THE_NEXT = (*PAX_HEADERS, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
"""Kinds of members that say something of the one behind them."""


class Member(NamedTuple):
    """A regular file in an archive: its name, and where its bytes are."""

    name: str
    offset: int
    size: int


class Shard(NamedTuple):
    """The images of one archive: keys, and where the bytes of each are."""

    path: Path
    keys: Strings
    offsets: np.ndarray
    sizes: np.ndarray


def read_shard(path: Path) -> Shard:
    """Return where the images of an archive are; remembered until the file changes.

    Raises:
        ValueError: if it is no plain tar file, or ends in the middle, naming it and the place.
        OSError: if it cannot be read.
    """
    arrays = remembered_arrays("shards-1", [path], lambda: _index(path))
    return Shard(path, Strings(arrays["letters"], arrays["ends"]), arrays["offsets"], arrays["sizes"])


def members(path: Path) -> Iterator[Member]:
    """Yield the regular files of an archive, reading their headers only.

    Raises:
        ValueError: as `read_shard`.
    """
    total = path.stat().st_size
    with path.open("rb") as file:
        at, long_name = 0, ""
        while (block := _block(file, at, path)).strip(b"\0"):
            info = _header(block, at, path)
            start = at + BLOCK
            size = 0 if info.type in WITHOUT_DATA else info.size
            if not 0 <= size <= total - start:
                raise ValueError(f"{path}: byte {at}: found a member of {info.size} bytes, expected at most the file's")
            if info.type == tarfile.GNUTYPE_SPARSE:
                raise ValueError(f"{path}: byte {at}: found a sparse file, expected whole ones")
            if info.type == tarfile.GNUTYPE_LONGNAME:
                long_name = _text(file, start, size, path).rstrip("\0")
            elif info.type in PAX_HEADERS:
                long_name = _pax_path(_text(file, start, size, path)) or long_name
            elif info.isreg():
                yield Member(long_name or info.name, start, size)
            if info.type not in OF_THE_NEXT:
                long_name = ""
            at = start + -(-size // BLOCK) * BLOCK


def image_key(name: str) -> str | None:
    """Return the key of a member or file that is an image by its ending; None for another."""
    key, _, ending = PurePosixPath(name).name.partition(".")
    return key if ending.lower() in ENDINGS else None


def _index(path: Path) -> Arrays:
    found = [(key, member) for member in members(path) if (key := image_key(member.name)) is not None]
    keys = Strings.of(key for key, _ in found)
    places = np.array([(member.offset, member.size) for _, member in found], dtype=np.int64).reshape(-1, 2)
    return {"letters": keys.letters, "ends": keys.ends, "offsets": places[:, 0], "sizes": places[:, 1]}


def _block(file: IO[bytes], at: int, path: Path) -> bytes:
    """Return the header at ``at``, empty at the end."""
    file.seek(at)
    block = file.read(BLOCK)
    if at == 0 and block[:2] == b"\x1f\x8b":
        raise ValueError(f"{path}: found a compressed file, expected a plain tar file: unpack it with gunzip")
    if len(block) not in (0, BLOCK):
        raise ValueError(f"{path}: byte {at}: found the end in the middle of a header")
    return block


def _header(block: bytes, at: int, path: Path) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except (tarfile.HeaderError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: byte {at}: found no tar header ({error}), expected one") from error


def _text(file: IO[bytes], start: int, size: int, path: Path) -> str:
    if size > LONGEST_HEADER:
        raise ValueError(f"{path}: byte {start}: found a name of {size:,} bytes, expected at most {LONGEST_HEADER:,}")
    file.seek(start)
    return file.read(size).decode("utf-8", errors="replace")


def _pax_path(text: str) -> str:
    """Return the name in a POSIX header, whose lines are ``LENGTH key=value``; empty where it has none."""
    lines = (line.partition(" ")[2].partition("=") for line in text.split("\n"))
    return next((value for key, _, value in lines if key == "path"), "")


def read_member(path: Path, offset: int, size: int, most: int | None = None) -> bytes:
    """Return the bytes of an image in an archive, of one that is longer than ``most`` bytes its first.

    Raises:
        ValueError: if it is larger than `LARGEST_IMAGE`, or the archive is shorter than it was.
        OSError: if it cannot be read, naming the archive.
    """
    where = f"{path}, byte {offset}"
    if size > LARGEST_IMAGE:
        raise ValueError(f"{where}: found {size:,} bytes, expected an image of at most {LARGEST_IMAGE:,}")
    wanted = size if most is None else min(size, most)
    with read_errors(path), path.open("rb") as file:
        file.seek(offset)
        content = file.read(wanted)
    if len(content) < wanted:
        raise ValueError(f"{where}: found {shown(content[:8])} and the end, expected {size:,} bytes")
    return content
