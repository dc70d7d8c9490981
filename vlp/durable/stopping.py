"""Stopping on a signal: at once where nothing is lost by it, else where what is under way can be saved.

The command installs the handlers first of all. Inside `deferring` (a training) a signal is only noted: who trains asks
`received` after each step, saves, and raises `Stopped`. Anywhere else the signal raises `Stopped` on the spot.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

MAX_TIME = "trainer.max_time"
"""The reason of a training that has used up the time it was given; the others are names of signals."""

SAME_SIGNAL_S = 0.5
"""Signals no further apart than this are one: ``timeout``, SLURM and programs that forward signals send each twice."""


class Stopped(BaseException):
    """The run was told to stop, and has.

    No `Exception`, since nothing that handles errors may take it for one.

    Args:
        reason: SIGTERM, SIGINT, SIGUSR1 or ``trainer.max_time``.
        saved: the checkpoint of what was under way, None where nothing needed saving.
        step: of that checkpoint.
    """

    def __init__(self, reason: str, saved: Path | None = None, step: int | None = None) -> None:
        super().__init__(reason, saved, step)
        self.reason, self.saved, self.step = reason, saved, step

    @property
    def status(self) -> int:
        """The exit status: 128 plus the signal's number, 0 for a training whose time was over."""
        return 0 if self.reason == MAX_TIME else 128 + signal.Signals[self.reason]

    def __str__(self) -> str:
        """Return what happened, in a line."""
        if self.saved is None:
            return f"stopped by {self.reason}: nothing was under way that needs saving"
        return f"stopped by {self.reason}{'' if self.step is None else f' at step {self.step}'}, saved {self.saved}"


@dataclass
class _State:
    """What this process has been told; signals are the process's, and so is this."""

    noted: str | None = None
    first_signal: float | None = None
    deferred: int = 0
    listeners: list[Callable[[int], None]] = field(default_factory=list)


_state = _State()


def caught_signals() -> list[signal.Signals]:
    """Return the signals that stop a run; SIGUSR1 is SLURM's warning that the time is over, and else not ours."""
    return [signal.SIGTERM, signal.SIGINT, *([signal.SIGUSR1] if "SLURM_JOB_ID" in os.environ else [])]


def install() -> None:
    """Install our handlers in place of what is there; may be called again. Off the main thread it does nothing.

    The first signal stops the run, a second one ends the process at once with 128 plus its number.
    """
    if threading.current_thread() is threading.main_thread():
        for number in caught_signals():
            signal.signal(number, _receive)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, caught_signals())


def release() -> None:
    """Have signals end this process again as they end any: what it had to do is done."""
    if is_installed():
        for number in caught_signals():
            signal.signal(number, signal.SIG_DFL)


def is_installed() -> bool:
    """Whether our handlers are in place in this process."""
    return signal.getsignal(signal.SIGTERM) is _receive


@contextmanager
def blocked() -> Iterator[None]:
    """Hold signals back in this thread inside the block; a process started in it gets them once it calls `install`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, caught_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def received() -> str | None:
    """Return the reason to stop that was noted first, None as long as there is none."""
    return _state.noted


def note(reason: str) -> None:
    """Note a reason that another process of this training was given, unless there is one already."""
    _state.noted = _state.noted or reason


@contextmanager
def deferring() -> Iterator[None]:
    """Have signals noted instead of raised inside the block; what was noted and not seen to is raised at its end.

    A block inside another one leaves that to the outer one.

    Raises:
        Stopped: if something was noted and the block ended well.
    """
    _state.deferred += 1
    try:
        yield
    finally:
        _state.deferred -= 1
    if _state.noted is not None and not _state.deferred:
        raise Stopped(_state.noted)


@contextmanager
def handing_on(listener: Callable[[int], None]) -> Iterator[None]:
    """Call ``listener`` with the number of the signal that stops this process: from its handler, or if it has come."""
    _state.listeners.append(listener)
    try:
        if _state.noted is not None and _state.noted != MAX_TIME:
            listener(signal.Signals[_state.noted])
        yield
    finally:
        _state.listeners.remove(listener)


def ignore_signals(worker: int = 0) -> None:
    """Have this process outlive the signals that stop a run, unless its parent sends them: the parent still needs it.

    For processes that work for one which decides for all: a ``DataLoader``'s (as ``worker_init_fn``), a launcher's.
    May be called again. Where the system does not tell a signal's sender (macOS), they are ignored all the same.
    """
    if signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, caught_signals()):
        return
    if hasattr(signal, "sigwaitinfo"):
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    while signal.sigwaitinfo(caught_signals()).si_pid != parent:
        continue
    os._exit(0)


def _receive(number: int, frame: FrameType | None) -> None:
    if _state.first_signal is not None:
        if time.monotonic() - _state.first_signal > SAME_SIGNAL_S:
            os._exit(128 + number)
        return
    _state.first_signal = time.monotonic()
    note(signal.Signals(number).name)
    for listener in _state.listeners:
        listener(number)
    if not _state.deferred:
        raise Stopped(signal.Signals(number).name)
