"""Where activations are kept: one ``.npy`` an array, written shard by shard, each shard whole or not there.

A shard's rows are written and made durable before the file that vouches for them, with their sha256, appears; so a kill
at any instant costs the shard under way. What a shard's file does not vouch for is read from the model again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlp.configs import digest
from vlp.durable.files import remove_leftovers, replacing, storage_errors, sync_folder, write_text
from vlp.durable.locks import locked

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]

FORMAT = 1
"""Raised when what is kept changes its meaning."""

MANIFEST, SHARDS = "manifest.json", "shards"
SHORT = 12
"""Digits of a key in a folder's name."""


class ActivationStore(ABC):
    """Arrays of as many rows as there are pairs, written a shard at a time.

    Args:
        shapes: of one row of each array.
        bounds: the row at which each shard begins, and last the number of rows.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], bounds: Sequence[int]) -> None:
        self.shapes = dict(shapes)
        self.bounds = tuple(bounds)

    @property
    def num_shards(self) -> int:
        """The number of shards."""
        return len(self.bounds) - 1

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.bounds[-1]

    @property
    def size(self) -> int:
        """Bytes of all arrays."""
        return 4 * self.rows * sum(int(np.prod(shape)) for shape in self.shapes.values())

    @property
    @abstractmethod
    def missing(self) -> frozenset[int]:
        """The shards still to be written."""

    @abstractmethod
    def write(self, shard: int, arrays: Mapping[str, Floats]) -> None:
        """Keep the rows of a shard."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return the arrays, once no shard is missing."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from writing the same inside the block."""
        yield

    def _check(self, shard: int, arrays: Mapping[str, Floats]) -> None:
        rows = self.bounds[shard + 1] - self.bounds[shard]
        expected = {name: (rows, *shape) for name, shape in self.shapes.items()}
        found = {name: array.shape for name, array in arrays.items()}
        if found != expected:
            raise ValueError(f"shard {shard} of activations has shapes {found}, expected {expected}")


class MemoryStore(ActivationStore):
    """Activations that are kept as long as this object."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], bounds: Sequence[int]) -> None:
        super().__init__(shapes, bounds)
        self._arrays = {name: np.empty((self.rows, *shape), np.float32) for name, shape in self.shapes.items()}
        self._written: set[int] = set()

    @property
    def missing(self) -> frozenset[int]:
        """The shards still to be written."""
        return frozenset(range(self.num_shards)) - self._written

    def write(self, shard: int, arrays: Mapping[str, Floats]) -> None:
        """Keep the rows of a shard."""
        self._check(shard, arrays)
        for name, array in arrays.items():
            self._arrays[name][self.bounds[shard] : self.bounds[shard + 1]] = array
        self._written.add(shard)

    def tensors(self) -> dict[str, Tensor]:
        """Return the arrays."""
        return {name: torch.from_numpy(array) for name, array in self._arrays.items()}


class DiskStore(ActivationStore):
    """Activations on disk, under a key that says all they depend on; mapped into memory when read.

    Args:
        root: the folder of all keys.
        content: what the activations depend on, plain data.
        shapes, bounds: see `ActivationStore`.
    """

    def __init__(
        self,
        root: Path,
        content: Mapping[str, Any],
        shapes: Mapping[str, tuple[int, ...]],
        bounds: Sequence[int],
    ) -> None:
        super().__init__(shapes, bounds)
        self.content = {**content, "format": FORMAT, "arrays": {name: list(shape) for name, shape in shapes.items()}}
        self.content["bounds"] = digest(list(self.bounds))
        self.key = digest(self.content)[:SHORT]
        self.folder = root / self.key
        self._lock = root / f".{self.key}.lock"
        self._vouched: set[int] = set()

    @property
    def missing(self) -> frozenset[int]:
        """The shards whose rows are not there, or are not what was written (a warning tells)."""
        unknown = set(range(self.num_shards)) - self._vouched
        self._vouched |= {shard for shard in unknown if self._is_whole(shard)}
        return frozenset(range(self.num_shards)) - self._vouched

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from writing this key inside the block; what killed ones left of it is removed."""
        with storage_errors(self._lock):
            self._lock.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._lock, f"another process reads {self.folder} from a model; waiting"):
            for folder in (self.folder, self.folder / SHARDS):
                remove_leftovers(folder)
            yield

    def write(self, shard: int, arrays: Mapping[str, Floats]) -> None:
        """Write the rows of a shard, durably, then the file that vouches for them.

        Raises:
            StorageError: if the disk does not take it.
        """
        self._check(shard, arrays)
        self._prepare()
        for name, array in arrays.items():
            _write_rows(self._file(name), array, self.bounds[shard])
        write_text(self._voucher(shard), _digest_of(arrays[name] for name in self.shapes))
        self._vouched.add(shard)

    def tensors(self) -> dict[str, Tensor]:
        """Return the arrays, read from the disk as they are used."""
        return {name: torch.from_numpy(np.load(self._file(name), mmap_mode="c")) for name in self.shapes}

    def _prepare(self) -> None:
        """Lay out the files, unless an earlier process has and they are still there."""
        manifest = self.folder / MANIFEST
        if manifest.is_file() and all(self._is_laid_out(name) for name in self.shapes):
            with storage_errors(self.folder):
                (self.folder / SHARDS).mkdir(exist_ok=True)
            return
        shutil.rmtree(self.folder, ignore_errors=True)  # of one that was killed in here, or damaged
        self._vouched.clear()
        with storage_errors(self.folder):
            (self.folder / SHARDS).mkdir(parents=True)
        for name, shape in self.shapes.items():
            _lay_out(self._file(name), (self.rows, *shape))
        write_text(manifest, json.dumps({**self.content, "bounds": self.bounds, "bytes": self.size}, indent=1))

    def _is_whole(self, shard: int) -> bool:
        voucher = self._voucher(shard)
        if not voucher.exists():
            return False
        try:
            expected = voucher.read_text("utf-8").strip()
            start, stop = self.bounds[shard], self.bounds[shard + 1]
            arrays = (np.load(self._file(name), mmap_mode="r") for name in self.shapes)
            found = _digest_of(array[start:stop] for array in arrays)
        except (OSError, EOFError, ValueError) as error:
            log.warning("the rows that %s vouches for cannot be read (%s); they are made again", voucher, error)
            return False
        if found != expected:
            log.warning("%s vouches for other rows than are there; they are made again", voucher)
        return found == expected

    def _is_laid_out(self, name: str) -> bool:
        try:
            return np.load(self._file(name), mmap_mode="r").shape == (self.rows, *self.shapes[name])
        except (OSError, EOFError, ValueError):
            return False

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def _voucher(self, shard: int) -> Path:
        return self.folder / SHARDS / f"{shard:06d}.sha256"


def _digest_of(arrays: Iterator[Floats]) -> str:
    sha256 = hashlib.sha256()
    for array in arrays:
        sha256.update(np.ascontiguousarray(array).data)
    return sha256.hexdigest()


def _lay_out(path: Path, shape: tuple[int, ...]) -> None:
    """Make a file for an array of floats, its place on the disk taken, so that a full disk is noticed here."""
    with replacing(path) as file:
        description = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, description)
        file.flush()
        size = file.tell() + 4 * int(np.prod(shape))
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        file.truncate(size)


def _write_rows(path: Path, array: Floats, start: int) -> None:
    """Write rows into a file that `_lay_out` made, from row ``start`` on, and make them durable."""
    with storage_errors(path), path.open("r+b") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        file.seek(file.tell() + start * 4 * int(np.prod(array.shape[1:])))
        file.write(np.ascontiguousarray(array, dtype="<f4").data)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)
