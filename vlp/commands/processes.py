"""Locks that die with their holder, and child processes that die with their parent."""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold the lock file ``path``; where another process holds it, say ``waiting`` once and wait.

    The lock is the kernel's (``flock``), so it is free again when its holder ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning(waiting)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run_child(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run ``python ARGUMENTS`` to its end and return its exit status.

    SIGTERM is handed on to it, and ends this process after it; an interrupt from the terminal reaches both.
    """
    child = subprocess.Popen([sys.executable, *arguments], env=dict(environment))
    try:
        with _handing_on_sigterm(child) as received:
            status = child.wait()
    except KeyboardInterrupt:
        child.wait()
        raise
    if received:
        sys.exit(128 + signal.SIGTERM)
    return status


@contextmanager
def _handing_on_sigterm(child: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Hand SIGTERM on to ``child``; yield a list of the signals that came."""
    received: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        os.kill(child.pid, number)  # no method of `child`: the interrupted wait holds its lock

    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield received
        return
    before = signal.signal(signal.SIGTERM, hand_on)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


def die_with_parent(parent: int) -> None:
    """Have this process killed when ``parent``, which started it, ends (Linux; elsewhere it runs on to its end)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended in the meantime
            os.kill(os.getpid(), signal.SIGKILL)


def devices_for(cell: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that gives cell i of a sweep GPU i mod n; empty with fewer than two GPUs."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    driver = Path("/proc/driver/nvidia/gpus")
    present = [str(index) for index, _ in enumerate(driver.iterdir())] if driver.is_dir() else []
    names = visible.split(",") if visible else present
    return {"CUDA_VISIBLE_DEVICES": names[cell % len(names)]} if len(names) > 1 else {}
