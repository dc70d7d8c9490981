"""Files that are whole or not there: written under a temporary name, made durable, put in place by a rename.

A kill or a power cut at any instant leaves the old file or the new one; a full or broken disk leaves the old one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


class StorageError(OSError):
    """A file that could not be written; the message names the file, its disk, the bytes free and the system's reason.

    ``errno`` and ``filename`` are those of the failure.
    """

    @classmethod
    def of(cls, error: OSError, path: Path) -> StorageError:
        """Return what ``error`` says of writing ``path``."""
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        reason = f"{error.strerror or error} ({name})"
        return cls(error.errno, f"{path} cannot be written: {reason}; {_disk(path)}", str(path))

    def __str__(self) -> str:
        return str(self.strerror)


def _disk(path: Path) -> str:
    """Return where the disk of ``path`` is mounted and what is free on it."""
    folder = path.absolute().parent
    while not os.path.exists(folder):  # unlike Path.exists, False of what may not be looked at
        folder = folder.parent
    folder = folder.resolve()
    mount = next(place for place in (folder, *folder.parents) if os.path.ismount(place) or place == place.parent)
    try:
        state = os.statvfs(folder)
    except OSError as error:
        return f"disk {mount}, which does not say what is free ({error.strerror})"
    return f"disk {mount}, {state.f_bavail * state.f_frsize} bytes free of {state.f_blocks * state.f_frsize}"


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into the `StorageError` of ``path``."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError.of(error, path) from error


@contextlib.contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Have an `OSError` of the block name ``path``; that of a failed read says nothing of what was read."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextlib.contextmanager
def replacing(path: Path | str, mode: str = "wb", **open_args: Any) -> Iterator[IO[Any]]:
    """Give a temporary file that takes the place of ``path``, durably, when the block ends well.

    When it does not, the temporary file is removed and what stood at ``path`` stands there still.

    Args:
        path: the file; its folder has to exist.
        mode: ``"wb"`` or ``"w"``.
        open_args: further arguments of `open`.

    Raises:
        StorageError: if the disk does not take it.
    """
    path = Path(path)
    temporary = _temporary(path)
    with storage_errors(path), _removed_on_error(temporary), temporary.open(mode, **open_args) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)


def cache_folder(kind: str) -> Path:
    """Return where the user's cache keeps ``kind``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vlp" / kind


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` in UTF-8 to ``path``, whole and durably or not at all.

    Raises:
        StorageError: if the disk does not take it.
    """
    with replacing(path, "w", encoding="utf-8") as file:
        file.write(text)


def append(path: Path, data: bytes) -> None:
    """Add ``data`` to the end of a file, durably; where the disk does not take all of it, the file keeps its length.

    A kill in the middle may leave a part of it.

    Raises:
        StorageError: if the disk does not take it.
    """
    with storage_errors(path), path.open("ab", buffering=0) as file:
        length = file.tell()
        try:
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(length)
            raise


def replace_link(link: Path, target: Path) -> None:
    """Make ``link`` lead to ``target`` by a relative path, in place of what it led to before, at one instant.

    Raises:
        StorageError: if the disk does not take it.
    """
    temporary = _temporary(link)
    with storage_errors(link), _removed_on_error(temporary):
        leads_to = os.path.relpath(target.resolve(), link.parent.resolve())
        temporary.symlink_to(leads_to, target_is_directory=target.is_dir())
        os.replace(temporary, link)
        sync_folder(link.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make every file and folder below ``folder`` durable, before a rename publishes it.

    Raises:
        StorageError: naming the file that the disk does not take.
    """
    for parent, _, names in os.walk(folder, topdown=False):
        for place in [*(Path(parent) / name for name in names), Path(parent)]:
            if not place.is_symlink():
                with storage_errors(place):
                    sync_folder(place)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed writers left in ``folder``; the caller holds the folder's lock.

    Raises:
        StorageError: if the disk does not allow it.
    """
    for path in folder.glob(".*.tmp"):
        if _LEFTOVER.fullmatch(path.name):
            with storage_errors(path):
                path.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


@contextlib.contextmanager
def _removed_on_error(temporary: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # of a disk that fails: what is left goes with `remove_leftovers`
            temporary.unlink(missing_ok=True)
        raise
