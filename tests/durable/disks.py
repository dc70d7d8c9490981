"""Disks that fail: full, broken or read-only ones, and ones that the process is killed in the middle of writing to."""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import errno
import io
import os
import pickle
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

NOBODY = 65534
_READ_ONLY, _REMOUNT, _DETACH = 1, 32, 2


def full() -> NoReturn:
    """Fail as a disk does that has no room."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def broken() -> NoReturn:
    """Fail as a disk does that cannot be read or written."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def kill() -> NoReturn:
    """End this process as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL came back")


class _Room:
    """What a disk still takes: writers ask before they write, and are refused by the fault."""

    def __init__(self, folder: Path, size: int, fault: Callable[[], NoReturn]) -> None:
        self.folder, self.left, self.fault = str(folder.resolve()), size, fault

    def holds(self, path: object) -> bool:
        """Whether ``path`` is on this disk."""
        return isinstance(path, str | os.PathLike) and os.path.realpath(path).startswith(self.folder + os.sep)

    def take(self, size: int) -> int:
        """Return how many of ``size`` bytes can be written now, as the kernel does: some, or else the fault."""
        if self.left == 0 and size > 0:
            self.fault()
        taken = min(size, self.left)
        self.left -= taken
        return taken


class _File(io.FileIO):
    """A file on a disk with so much room."""

    def __init__(self, path: Any, mode: str, room: _Room) -> None:
        super().__init__(path, mode)
        self.room = room

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        return super().write(view[: self.room.take(len(view))])


@contextlib.contextmanager
def faulty_disk(folder: Path, room: int, fault: Callable[[], NoReturn]) -> Iterator[None]:
    """Take ``room`` bytes into files below ``folder``, whoever writes them in Python, and then call ``fault``."""
    disk, real_open, real_sendfile = _Room(folder, room, fault), io.open, os.sendfile

    def opened(path: Any, mode: str = "r", buffering: int = -1, *args: Any, **kwargs: Any) -> Any:
        if not {"w", "x", "a"} & set(mode) or not disk.holds(path):
            return real_open(path, mode, buffering, *args, **kwargs)
        file = io.BufferedWriter(_File(path, mode.replace("b", ""), disk))
        return file if "b" in mode else io.TextIOWrapper(file, *args, **kwargs)

    def sendfile(target: int, source: int, offset: int, count: int) -> int:
        if not disk.holds(os.readlink(f"/proc/self/fd/{target}")):
            return real_sendfile(target, source, offset, count)
        left = os.fstat(source).st_size - offset
        taken = disk.take(min(count, left))
        return real_sendfile(target, source, offset, taken) if taken else 0

    with (
        mock.patch.object(io, "open", opened),
        mock.patch.object(builtins, "open", opened),
        mock.patch.object(os, "sendfile", sendfile),
    ):
        yield


@contextlib.contextmanager
def failing(name: str, fault: Callable[[], NoReturn], after: int = 0) -> Iterator[None]:
    """Have ``os.NAME`` (``fsync``, ``replace``) call ``fault`` instead, but for the first ``after`` calls."""
    real, calls = getattr(os, name), iter(range(after))

    def fails(*args: Any, **kwargs: Any) -> Any:
        if next(calls, None) is None:
            fault()
        return real(*args, **kwargs)

    with mock.patch.object(os, name, fails):
        yield


class _Unreadable(io.FileIO):
    """A file that can be opened, on a disk that does not give its bytes."""

    def readinto(self, buffer: Any) -> NoReturn:
        broken()

    def readall(self) -> NoReturn:
        broken()


@contextlib.contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Have reading ``path`` fail as on a broken disk."""
    real_open = io.open

    def opened(file: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(file, Path) and file == path:
            return io.BufferedReader(_Unreadable(file))
        return real_open(file, *args, **kwargs)

    with mock.patch.object(io, "open", opened):
        yield


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a disk of ``size`` bytes on ``folder``; gives False, and mounts none, where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder.mkdir(parents=True, exist_ok=True)
    place = os.fsencode(folder)
    is_mounted = hasattr(libc, "umount2") and libc.mount(b"tmpfs", place, b"tmpfs", 0, f"size={size}".encode()) == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            libc.umount2(place, _DETACH)


def make_read_only(disk: Path) -> None:
    """Forbid writing on what `small_disk` has mounted, as the kernel does after errors.

    Raises:
        OSError: if that is not allowed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", _REMOUNT | _READ_ONLY, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(disk))


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """Give an empty folder that every user may look into."""
    with tempfile.TemporaryDirectory(prefix="vlp-test-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Forbid writing in ``folder``, to root as well, which becomes another user meanwhile."""
    user = os.geteuid()
    folder.chmod(0o555)
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


def in_child(function: Callable[[], Any]) -> Any:
    """Return what ``function`` gives in a forked child; the negative number of the signal that ended it, if one did.

    Raises:
        RuntimeError: with the child's traceback, if it failed.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(function, reader, writer)
    os.close(writer)
    with open(reader, "rb") as answer:
        said = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        return status
    is_well, result = pickle.loads(said)
    if not is_well:
        raise RuntimeError(result)
    return result


def _answer(function: Callable[[], Any], reader: int, writer: int) -> NoReturn:
    os.close(reader)
    try:
        said = (True, function())
    except BaseException:  # noqa: BLE001 - handed to the process that waits for this one
        said = (False, traceback.format_exc())
    with open(writer, "wb") as answer:
        pickle.dump(said, answer)
    os._exit(0)


def cut(path: Path, size: int) -> None:
    """Leave the first ``size`` bytes of a file."""
    os.truncate(path, size)


def flip(path: Path, bit: int) -> None:
    """Turn one bit of a file."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ (1 << bit % 8)]))
