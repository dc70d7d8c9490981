"""Checkpoint files that are whole, verified and plain: behind Lightning's `CheckpointIO`."""

from __future__ import annotations

import contextlib
import logging
import sys
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, Any, cast

import numpy as np
import torch
from pytorch_lightning.plugins import CheckpointIO
from torch import Tensor, nn

from vlp.durable.digests import DamagedError, HashingWriter, check_digest, file_digest, sidecar, write_sidecar
from vlp.durable.files import StorageError, read_errors, replacing, storage_errors, sync_folder
from vlp.models.checkpoints.files import load_plain

log = logging.getLogger(__name__)

ON_ERROR = ("stop", "continue")
_PLAIN = {type(None), bool, int, float, str, torch.Size, torch.dtype, torch.device}
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


class CheckpointWriter(CheckpointIO):
    """Writes checkpoints of plain types, each with its sha256 beside it, and verifies what it reads.

    The sidecar is durable before the checkpoint appears, by a rename. While a checkpoint of the same name is replaced,
    its sidecar holds the digests of both. So at every instant each ``.ckpt`` there is whole and verifies.

    Args:
        on_error: what a disk that does not take a checkpoint does: ``stop`` raises the error, ``continue`` logs it.

    Raises:
        ValueError: if ``on_error`` is neither.
    """

    def __init__(self, on_error: str = "stop") -> None:
        if on_error not in ON_ERROR:
            raise ValueError(f"on_error={on_error!r}: expected {' or '.join(ON_ERROR)}")
        self.on_error = on_error
        self.error: StorageError | None = None
        """Why the last checkpoint was not written, None where it was."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write ``checkpoint``, durably.

        Raises:
            TypeError: naming the key path of what `torch.load` with ``weights_only=True`` would not read.
            StorageError: if the disk does not take it and ``on_error`` is ``stop``; what stood there stays.
        """
        if storage_options is not None:
            raise TypeError(f"storage_options={storage_options!r}: checkpoints are written to local files, without any")
        contents = plain(checkpoint)
        self.error = None
        with self.as_told():
            try:
                _write(contents, Path(path))
            except StorageError as error:
                self.error = error
                raise

    @contextmanager
    def as_told(self) -> Iterator[None]:
        """Raise the block's `StorageError`, or log it, as ``on_error`` says."""
        try:
            yield
        except StorageError as error:
            if self.on_error == "stop":
                raise
            log.error("%s; the run goes on without it", error)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Return a verified checkpoint, its tensors on the CPU; no code in it runs.

        Raises:
            FileNotFoundError: if there is none.
            DamagedError: if it is not what was written.
            ValueError: if it holds more than plain types, or something else than that is asked for.
        """
        if map_location is not None or weights_only is False:
            asked = f"map_location={map_location!r}, weights_only={weights_only}"
            raise ValueError(f"{path}: checkpoints are read to the CPU, without running code; asked for {asked}")
        verify(Path(path))
        contents = load_plain(Path(path))
        if not isinstance(contents, dict):
            raise ValueError(f"{path} holds a {type(contents).__name__}, expected the dict of a checkpoint")
        return contents

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint, then its sidecar; nothing where there is none.

        Raises:
            StorageError: if the disk does not allow it.
        """
        path = Path(path)
        with storage_errors(path):
            path.unlink(missing_ok=True)
            sidecar(path).unlink(missing_ok=True)
            sync_folder(path.parent)


def plain(value: Any, where: str = "checkpoint") -> Any:
    """Return ``value`` in types that `torch.load` reads with ``weights_only=True``; numpy's scalars and paths turned.

    Raises:
        TypeError: naming where something else stands, and what it is.
    """
    kind = type(value)
    if kind is str:  # pickle writes equal strings once only if they are one object; equal states give equal files so
        return sys.intern(value)
    if kind in _PLAIN:
        return value
    if kind in (Tensor, nn.Parameter) and value.layout == torch.strided and not value.is_quantized:
        return _bare(value)
    if kind in (list, tuple):
        return kind(plain(item, f"{where}[{index}]") for index, item in enumerate(value))
    if kind in (dict, OrderedDict):
        turned = kind(
            (plain(key, f"a key of {where}"), plain(item, f"{where}[{key!r}]")) for key, item in value.items()
        )
        if kind is OrderedDict:  # a state_dict's `_metadata`
            vars(turned).update(plain(vars(value), f"vars({where})"))
        return turned
    if isinstance(value, PurePath):
        return sys.intern(str(value))
    if isinstance(value, np.generic) and type(item := value.item()) in _PLAIN:
        return item
    raise TypeError(f"{where} is a {kind.__module__}.{kind.__qualname__}: a checkpoint holds plain types and tensors")


def _bare(tensor: Tensor) -> Tensor:
    """Return the values alone, without gradients, hooks and attributes; as many as are stored."""
    values = tensor.detach()
    is_expanded = values.numel() * values.element_size() > values.untyped_storage().nbytes()
    return values.contiguous() if is_expanded else values


def verify(path: Path) -> None:
    """Check that ``path`` is what was written: by its sidecar, or by its zip's checksums where that is missing.

    Raises:
        FileNotFoundError: if there is no such file.
        DamagedError: if it is not, naming it, what was found and what was expected.
    """
    if check_digest(path):
        return
    log.warning("%s has no %s: only the checksums within it are checked", path, sidecar(path).name)
    try:
        with read_errors(path), zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except _ZIP_ERRORS as error:
        raise DamagedError(f"{path} is cut short or damaged: {error}") from error
    if damaged is not None:
        raise DamagedError(f"{path} is damaged: the checksum of its part {damaged} is wrong")


def _write(contents: Any, path: Path) -> None:
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        known = [file_digest(path)] if _is_good(path) else []
    try:
        with replacing(path) as file:
            digest = _save(contents, file)
            write_sidecar(path, digest, *known)
    except BaseException:
        with contextlib.suppress(OSError):  # what a failing disk keeps is harmless, and goes with the next prune
            if not path.exists():
                sidecar(path).unlink(missing_ok=True)
        raise
    if known:
        write_sidecar(path, digest)


def _is_good(path: Path) -> bool:
    """Whether there is a checkpoint that verifies; the digest of a damaged one must never stand in a sidecar."""
    try:
        if path.exists():
            verify(path)
            return True
    except (OSError, DamagedError) as error:
        log.warning("%s; it is written anew", error)
    return False


def _save(contents: Any, file: IO[bytes]) -> str:
    """Write ``contents`` and return the sha256."""
    writer = HashingWriter(file)
    try:
        torch.save(contents, cast(IO[bytes], writer))
    except RuntimeError as error:  # torch's on the archive that it cannot finish hides the disk's
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
    return writer.hexdigest()
