"""Several processes of one run: they end together, and what one of them died of is what the user reads.

Lightning starts the processes of a machine as copies of the command; rank 0 is the one the user started. Left alone it
is killed without a word when another one ends, or reports the connection it lost. Imports no torch.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlp.commands.processes import PARENT
from vlp.durable import stopping

if TYPE_CHECKING:
    import pytorch_lightning as pl

LAST_WORDS = "VLP_LAST_WORDS"
"""Environment variable with the folder in which the processes of a run leave what they died of."""

OWN_WORDS_S = 10.0
"""Seconds in which rank 0 and another one that died of an error wait for what the other has to say of it."""

LOST_CONNECTION_S = 30.0
"""Seconds for rank 0 to say what it died of, where another rank only lost its connection: to rank 0, it seems."""

_LOST_CONNECTION = re.compile(r"gloo|nccl|TCPStore|DistNetworkError|closed by peer|reset by peer|Broken pipe", re.I)


class RankError(RuntimeError):
    """Another process of this run died; the message says which, and of what."""


def joins_another() -> bool:
    """Whether this process shares the work of another one (ddp), which holds the lock and writes results."""
    numbers = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")  # torchrun's, Lightning's, SLURM's
    return any(int(os.environ.get(name, 0)) > 0 for name in numbers)


@contextmanager
def leading(folder: Path) -> Iterator[None]:
    """Have the processes that Lightning starts inside the block die with this one, their last words in ``folder``."""
    if joins_another():
        yield
        return
    os.environ |= {PARENT: str(os.getpid()), LAST_WORDS: str(folder)}
    try:
        yield
    finally:
        for name in (PARENT, LAST_WORDS):
            del os.environ[name]


def is_led() -> bool:
    """Whether another process of this machine reports what this one dies of."""
    return joins_another() and LAST_WORDS in os.environ


def leave_words(message: str) -> None:
    """Leave what this process dies of, or was stopped by, to the one that waits for it, if one does."""
    if LAST_WORDS in os.environ:
        file = words_file(Path(os.environ[LAST_WORDS]), int(os.environ.get("LOCAL_RANK", 0)))
        unfinished = file.with_suffix(".unfinished")
        with suppress(FileNotFoundError):  # that one is at its end
            unfinished.write_text(message, "utf-8")
            unfinished.replace(file)


def leave_stopped(stopped: stopping.Stopped) -> int:
    """Leave what stopped this process to the one that waits for it; return the exit status.

    Of a run's processes rank 0 alone ends with that of a stop which all have agreed on.
    """
    leave_words(str(stopped))
    return 0 if joins_another() and stopped.saved is not None else stopped.status


def words_file(folder: Path, rank: int = 0) -> Path:
    """Return the file of a process's last words."""
    return folder / f"{rank}.error"


@contextmanager
def watching(trainer: pl.Trainer) -> Iterator[None]:
    """Take signals and the other processes of this machine out of Lightning's hands; for all a trainer does.

    Lightning's handler of SIGTERM talks to the other processes in the middle of whatever they do, and ends with 0.

    Raises:
        RankError: for an error here that comes of another rank's death.
    """
    trainer._signal_connector.register_signal_handlers = stopping.install  # type: ignore[method-assign]
    watch = RankWatch()
    launcher: Any = trainer.strategy.launcher
    if hasattr(launcher, "procs"):
        start = launcher._call_children_scripts

        def start_and_watch() -> None:
            _keep_threads(trainer)
            start()
            watch.start(launcher.procs)
            launcher.procs = []  # else Lightning's observer would kill this process, and say nothing

        launcher._call_children_scripts = start_and_watch
    try:
        yield
    except Exception as error:
        told = watch.told(error)
        if told is error:
            raise
        raise told from error
    except stopping.Stopped:
        watch.end()
        raise
    finally:
        watch.is_over.set()


def _keep_threads(trainer: pl.Trainer) -> None:
    """Give each process on a processor the threads that one alone has: the last digits of a product depend on them.

    Lightning would divide them among the processes. A number in ``OMP_NUM_THREADS`` is the user's and stays.
    """
    import torch

    if trainer.strategy.root_device.type == "cpu":
        os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))


class RankWatch:
    """Waits for the other processes of a run, and ends this one when one of them dies.

    Attributes:
        is_over: set when this process ends by itself, or needs the others no longer.
    """

    def __init__(self) -> None:
        self.is_over = threading.Event()
        self.children: list[subprocess.Popen[bytes]] = []
        self.words = Path(os.environ.get(LAST_WORDS, os.devnull))

    def start(self, children: list[subprocess.Popen[bytes]]) -> None:
        """Watch the processes of ranks 1, 2, ..."""
        self.children = list(children)
        for rank, child in enumerate(children, start=1):
            threading.Thread(target=self._wait, args=(rank, child), daemon=True, name=f"rank-{rank}").start()

    def end(self) -> None:
        """Wait for the others, which were told to stop as well, so that none has something to say after this one."""
        self.is_over.set()
        for child in self.children:
            with suppress(subprocess.TimeoutExpired):
                child.wait(OWN_WORDS_S)
            child.kill()

    def told(self, error: Exception) -> Exception:
        """Return what to tell of an ``error`` of this process: itself, with what others died of, or the death it is of.

        An error that others have just the same is told once.
        """
        self.is_over.set()
        deaths = [words for words in self._deaths() if str(error) not in words]
        if deaths and _LOST_CONNECTION.search(str(error)):
            return RankError(deaths[0])
        for words in deaths:
            error.add_note(f"({words})")
        return error

    def _deaths(self) -> Iterator[str]:
        """Yield what the others died of, unless they only lost their connection; wait for it a little.

        A process that has said what it dies of may take long to end: what it has opened is closed first.
        """
        deadline = time.monotonic() + OWN_WORDS_S
        for rank, child in enumerate(self.children, start=1):
            while child.poll() is None and not self._said(rank) and time.monotonic() < deadline:
                time.sleep(0.05)
            if (child.returncode or self._said(rank)) and not self._lost_connection(rank):
                yield self._death(rank, child.returncode)

    def _wait(self, rank: int, child: subprocess.Popen[bytes]) -> None:
        status = child.wait()
        is_late = self._lost_connection(rank) or stopping.received() is not None
        if status == 0 or self.is_over.wait(LOST_CONNECTION_S if is_late else OWN_WORDS_S):
            return
        message = self._death(rank, status)
        leave_words(message)
        sys.stderr.write(f"error: {message}\n")
        sys.stderr.flush()
        for other in self.children:
            other.kill()
        reason = stopping.received()
        os._exit(1 if reason is None else stopping.Stopped(reason).status)  # the main thread may wait for ever

    def _lost_connection(self, rank: int) -> bool:
        return _LOST_CONNECTION.search(self._said(rank)) is not None

    def _said(self, rank: int) -> str:
        file = words_file(self.words, rank)
        return file.read_text("utf-8") if file.is_file() else ""

    def _death(self, rank: int, status: int | None) -> str:
        told = self._said(rank) or "it said nothing"
        if status is None:
            return f"rank {rank}: {told}"
        if status < 0:
            told = f"killed by {signal.Signals(-status).name}"
        return f"rank {rank} ended with status {status}: {told}"
