"""Images of a dataset, by name: files in folders, or members of tar shards, whichever there are."""

from __future__ import annotations

import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL.Image import Image

from vlp.data.images import decode_rgb, image_bytes, image_size, read_rgb
from vlp.data.tar_shards import image_key, read_member, read_shard
from vlp.durable.digests import state_key
from vlp.durable.files import append, cache_folder
from vlp.durable.locks import locked

logger = logging.getLogger(__name__)

IN_FOLDER, MISSING = -1, -2
CHECKED_AT_ONCE = 1_000
"""Images after which a check is remembered."""

HEADER = 16 * 1024
"""Bytes in which the size of a photograph stands, unless a profile or a thumbnail goes before it."""


class Place(NamedTuple):
    """Where an image is: a file, or so many bytes of an archive from ``offset`` on."""

    path: Path
    name: str
    offset: int = IN_FOLDER
    size: int = 0

    def __str__(self) -> str:
        """Return how errors name it."""
        return str(self.path) if self.offset == IN_FOLDER else f"{self.path}, member {self.name}"

    def read(self) -> Image:
        """Return the image as RGB.

        Raises:
            ValueError: naming it, if it is no image that can be decoded.
            OSError: naming its file, if that cannot be read.
        """
        if self.offset == IN_FOLDER:
            return read_rgb(self.path)
        return decode_rgb(self._content(), str(self))

    def image_size(self) -> tuple[int, int]:
        """Return its width and height, from its header.

        Raises:
            ValueError: naming it, if it has none.
            OSError: naming its file, if that cannot be read.
        """
        if self.offset == IN_FOLDER and not self.path.is_file():
            raise ValueError(f"{self.path}: found no file, expected an image")
        start = self._content(HEADER)
        try:
            return image_size(start, str(self))
        except ValueError:
            if len(start) < HEADER:
                raise
        return image_size(self._content(), str(self))

    def _content(self, most: int | None = None) -> bytes:
        if self.offset == IN_FOLDER:
            return image_bytes(self.path, most)
        return read_member(self.path, self.offset, self.size, most)


class ImageFiles:
    """Where images are below a folder: as ``FOLDER/NAME``, or in tar shards under the key that NAME is of.

    Shards are ``*.tar`` in the folder or in one of its own. A file in a folder goes before a member of a shard.

    Args:
        root: the folder.
        names: of the images, ``FOLDER/NAME``.

    Raises:
        ValueError: if a shard is no plain tar file, or two members have a key that is asked for.
    """

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root, self.names = root, names
        self.shards: list[Path] = []
        self._where = np.full((len(names), 3), MISSING, dtype=np.int64)  # shard, offset, size
        self._find_files()
        if len(self.missing()):
            self._find_members()

    def missing(self) -> list[int]:
        """Return the numbers of the images that are nowhere."""
        return np.flatnonzero(self._where[:, 0] == MISSING).tolist()

    def __getitem__(self, number: int) -> Place:
        """Return where an image is."""
        shard, offset, size = self._where[number].tolist()
        if shard in (IN_FOLDER, MISSING):
            return Place(self.root / self.names[number], self.names[number])
        return Place(self.shards[shard], self.names[number], offset, size)

    def unreadable(self) -> dict[int, str]:
        """Return what is wrong with which of the images that are there, decoding each that was not decoded before.

        Outcomes are remembered for as long as the file stays as it is, also those of a check that was interrupted.

        Raises:
            OSError: naming the file, if one cannot be read: that may pass, so that it says nothing of an image.
        """
        record = cache_folder("images-2") / f"{state_key(str(self.root.resolve()))}.jsonl"
        with locked(record.with_suffix(".lock"), f"another process checks the images of {self.root}; waiting for it"):
            known = dict(_outcomes(record))
            present = np.flatnonzero(self._where[:, 0] != MISSING).tolist()
            states = {number: self._state(number) for number in present}
            unknown = [number for number in present if states[number] not in known]
            for start in range(0, len(unknown), CHECKED_AT_ONCE):
                part = unknown[start : start + CHECKED_AT_ONCE]
                logger.info("checking image %d of %d in %s", start + 1, len(unknown), self.root)
                with ThreadPoolExecutor(os.cpu_count()) as pool:
                    found = dict(zip(part, pool.map(_problem, map(self.__getitem__, part)), strict=True))
                known |= {states[number]: problem for number, problem in found.items()}
                append(record, _lines([(states[number], problem) for number, problem in found.items()]))
        return {number: problem for number in present if (problem := known[states[number]])}

    def _state(self, number: int) -> str:
        place = self[number]
        state = place.path.stat()
        return f"{place.name}|{place.path}|{place.offset}|{state.st_size}|{state.st_mtime_ns}"

    def _find_files(self) -> None:
        by_folder = defaultdict(list)
        for number, name in enumerate(self.names):
            by_folder[os.path.dirname(name)].append(number)
        for folder, numbers in by_folder.items():
            place = self.root / folder
            there = frozenset(os.listdir(place)) if place.is_dir() else frozenset()
            found = [number for number in numbers if os.path.basename(self.names[number]) in there]
            self._where[found, 0] = IN_FOLDER

    def _find_members(self) -> None:
        wanted = {image_key(self.names[number]): number for number in self.missing()}
        self.shards = sorted(self.root.glob("*.tar")) + sorted(self.root.glob("*/*.tar"))
        for at, path in enumerate(self.shards):
            shard = read_shard(path)
            for index in range(len(shard.keys)):
                number = wanted.get(shard.keys[index])
                if number is None:
                    continue
                if (before := self._where[number, 0]) != MISSING:
                    twice = f"{shard.keys[index]}, which {self.shards[before]} has"
                    raise ValueError(f"{path}: found {twice}; expected each image once")
                self._where[number] = at, shard.offsets[index], shard.sizes[index]


def _problem(place: Place) -> str:
    """Return what is wrong with an image that was read whole; empty where nothing is.

    Raises:
        OSError: naming the file, if it cannot be read.
    """
    try:
        place.read()
    except ValueError as error:
        place.path.stat()  # of a file that is gone meanwhile nothing is known
        return str(error)
    return ""


def _outcomes(record: Path) -> Iterator[tuple[str, str]]:
    """Yield what is remembered; a line that a kill cut short says nothing."""
    if not record.is_file():
        return
    for line in record.read_text("utf-8", errors="replace").splitlines():
        try:
            state, problem = json.loads(line)
        except (ValueError, TypeError):
            continue
        if isinstance(state, str) and isinstance(problem, str):
            yield state, problem


def _lines(outcomes: Sequence[tuple[str, str]]) -> bytes:
    """Return a line for each outcome, on lines of their own even after one that a kill cut short."""
    return "".join(f"\n{json.dumps(outcome)}" for outcome in outcomes).encode()
