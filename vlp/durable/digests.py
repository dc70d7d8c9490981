"""The sha256 of a file, kept beside it in a sidecar that ``sha256sum -c`` reads; and names for what files are now."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from vlp.durable.files import read_errors, write_text

_LINE = re.compile(r"^([0-9a-fA-F]{64})\b", re.MULTILINE)


class DamagedError(ValueError):
    """A file whose content is not what was written."""


class HashingWriter:
    """Passes bytes on to ``file`` and digests them on their way, so that the file need not be read again."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write all of ``data`` and return its length in bytes."""
        written = self.file.write(data)
        self._sha256.update(data)
        return written

    def flush(self) -> None:
        """Hand on what ``file`` still buffers."""
        self.file.flush()

    def hexdigest(self) -> str:
        """Return the sha256 of what has been written."""
        return self._sha256.hexdigest()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal.

    Raises:
        OSError: if it cannot be read, naming it.
    """
    with read_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_key(*parts: str, files: Sequence[Path] = ()) -> str:
    """Return a name for ``parts`` and ``files``, the latter as they are now: by path, size and time of change."""
    states = [(str(file.resolve()), (state := file.stat()).st_size, state.st_mtime_ns) for file in files]
    return hashlib.sha256(repr((parts, states)).encode("utf-8", errors="surrogateescape")).hexdigest()


def sidecar(path: Path) -> Path:
    """Return where the digest of ``path`` is kept."""
    return path.with_name(f"{path.name}.sha256")


def write_sidecar(path: Path, *digests: str) -> None:
    """Keep the digest of ``path``; several while it is being replaced, any of which it may have.

    Raises:
        StorageError: if the disk does not take it.
    """
    write_text(sidecar(path), "".join(f"{digest}  {path.name}\n" for digest in digests))


def kept_digests(path: Path) -> list[str]:
    """Return the digests kept for ``path``; none where it has no sidecar.

    Raises:
        DamagedError: if the sidecar holds none.
    """
    place = sidecar(path)
    try:
        text = place.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    if not (digests := _LINE.findall(text)):
        raise DamagedError(f"{place} is damaged: expected a sha256 of 64 digits, found {text[:80]!r}")
    return [digest.lower() for digest in digests]


def check_digest(path: Path) -> bool:
    """Whether ``path``, or what it links to, has a sidecar and is what that says.

    Raises:
        DamagedError: if it is not, naming the file, what was found and what was expected.
    """
    path = path.resolve()
    expected = kept_digests(path)
    if expected and (found := file_digest(path)) not in expected:
        raise DamagedError(f"{path} is damaged: its sha256 is {found}, expected {' or '.join(expected)}")
    return bool(expected)
