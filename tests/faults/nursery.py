"""Commands in children forked from a process that has everything imported: none waits ten seconds for torch.

A process may be forked only as long as it is a single thread: a child would wait forever for a lock that another
thread of its parent held. So whoever forks leaves computing to the children, or does it on one thread.
"""

from __future__ import annotations

import functools
import mmap
import os
import signal
import struct
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from tests.conftest import ROOT
from tests.faults.harness import FORK, redirect
from vlp.commands import app

LIMIT_S = 300
"""A command of the smallest size that takes longer hangs."""

PHASES = ("starting", "validating", "training", "saving", "ending")
COMPUTING = PHASES[1:]


class Child(ABC):
    """A process that was started."""

    @abstractmethod
    def wait(self, seconds: float) -> int | None:
        """Wait for its end, at most ``seconds``; return its exit status (-n: ended by signal n), None if it runs on."""

    @abstractmethod
    def kill(self) -> None:
        """Send it SIGKILL."""

    def killed_after(self, seconds: float) -> bool:
        """Kill it after ``seconds``; return whether it was still running."""
        if self.wait(seconds) is None:
            self.kill()
        return self.end() == -signal.SIGKILL

    def end(self, limit_s: float = LIMIT_S) -> int:
        """Wait for its end and return its exit status.

        Raises:
            TimeoutError: if it hangs.
        """
        status = self.wait(limit_s)
        if status is None:
            self.kill()
            raise TimeoutError(f"{self} was still running after {limit_s} s")
        return status


class Forked(Child):
    """A child that calls ``function`` in ``folder``, what it says in the file ``log``.

    Raises:
        RuntimeError: if this process has more than one thread.
    """

    def __init__(self, function: Callable[[], object], folder: Path, log: Path) -> None:
        if (threads := len(list(Path("/proc/self/task").iterdir()))) > 1:
            raise RuntimeError(f"a process of {threads} threads cannot be forked safely")
        self.process = FORK.Process(target=_call, args=(function, folder, log))
        self.process.start()

    def wait(self, seconds: float) -> int | None:
        self.process.join(seconds)
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()


class Started(Child):
    """A child that is a command line of its own in ``folder``, what it says in the file ``log``."""

    def __init__(self, arguments: Sequence[str], folder: Path, log: Path) -> None:
        with log.open("ab") as file:
            command = [sys.executable, *arguments]
            self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def wait(self, seconds: float) -> int | None:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        self.process.kill()


class Watch:
    """What a forked command is doing, in memory that it shares with its parent.

    Args:
        last: the operation on files below its folder (one opened to be written, renamed, linked, removed) before which
            the command kills itself; None for none.
    """

    def __init__(self, last: int | None = None) -> None:
        self.last = last
        self._memory = mmap.mmap(-1, 16)

    @property
    def phase(self) -> str:
        """One of `PHASES`."""
        return PHASES[self._read()[0]]

    @property
    def operations(self) -> int:
        """Operations on files so far."""
        return self._read()[1]

    def enter(self, phase: str) -> None:
        """Say what is being done now."""
        struct.pack_into("q", self._memory, 0, PHASES.index(phase))

    def begin(self, folder: Path) -> None:
        """Watch this process and what it does below ``folder``, to its end."""
        sys.addaudithook(functools.partial(self._see, str(folder)))
        make, save = pl.Trainer.__init__, pl.Trainer.save_checkpoint

        @functools.wraps(make)
        def marked(trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
            make(trainer, *args, **{**kwargs, "callbacks": [*(kwargs.get("callbacks") or ()), _Phases(self)]})

        def marked_save(*args: Any, **kwargs: Any) -> None:
            before = self.phase
            self.enter("saving")
            save(*args, **kwargs)
            self.enter(before)

        pl.Trainer.__init__, pl.Trainer.save_checkpoint = marked, marked_save

    def _read(self) -> tuple[int, int]:
        phase, operations = struct.unpack_from("qq", self._memory)
        return phase, operations

    def _see(self, folder: str, event: str, arguments: tuple[Any, ...]) -> None:
        if not _changes_files(event, arguments) or not _is_below(arguments[0], folder):
            return
        number = self.operations + 1
        if number == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        struct.pack_into("q", self._memory, 8, number)


class _Phases(pl.Callback):
    """Tells a watch what a trainer does; validating stands for testing too."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_train_start(self, *_: object) -> None:
        self.watch.enter("training")

    def on_validation_start(self, *_: object) -> None:
        self.watch.enter("validating")

    def on_validation_end(self, *_: object) -> None:
        self.watch.enter("training")

    def on_train_end(self, *_: object) -> None:
        self.watch.enter("ending")

    on_test_start = on_validation_start
    on_test_end = on_train_end


def forked_command(entry: str, overrides: Sequence[str], folder: Path, log: Path, watch: Watch) -> Forked:
    """Return ``train.py`` or ``probe.py`` with ``overrides``, called in a child forked from this process."""

    def call() -> None:
        watch.begin(folder)
        sys.argv = [str(ROOT / f"{entry}.py"), *overrides]
        app.run(entry)

    return Forked(call, folder, log)


def started_command(entry: str, overrides: Sequence[str], folder: Path, log: Path) -> Started:
    """Return ``train.py`` or ``probe.py`` with ``overrides``, started as a user does."""
    return Started([str(ROOT / f"{entry}.py"), *overrides], folder, log)


def _call(function: Callable[[], object], folder: Path, log: Path) -> None:
    redirect(log)
    os.chdir(folder)
    function()


def _changes_files(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.truncate")


def _is_below(path: object, folder: str) -> bool:
    return isinstance(path, (str, bytes, os.PathLike)) and os.path.abspath(os.fsdecode(path)).startswith(
        folder + os.sep
    )
