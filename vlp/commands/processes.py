"""Child processes: they die with their parent, and get the signals that stop it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO

from vlp.durable.stopping import blocked, deferring, handing_on

PARENT = "VLP_PARENT"
"""Environment variable with the process that a child belongs to."""

RUNNING = "VLP_RUNNING"
"""Environment variable with the folder of `Running`, for the processes of a sweep's launcher."""

OUTPUT = "VLP_OUTPUT"
"""Environment variable with the file to which a child's output is appended; without it the child shares ours."""

_PR_SET_PDEATHSIG = 1


class Running:
    """The cells that run on this machine, whichever process has started them, as files named by their process id.

    Beside them stand the notes of `vlp.commands.progress`.

    A launcher's processes (joblib's) start cells of their own accord, and only the sweep's own is told to stop: it
    leaves the signal here, so that no further cell starts, and sends it to those that run.

    Args:
        folder: of the files.
    """

    STOPPED = "stopped"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def stopped(self) -> int | None:
        """The signal that stopped the sweep, None while it goes on."""
        file = self.folder / self.STOPPED
        return int(file.read_text("utf-8")) if file.is_file() else None

    def stop(self, number: int) -> None:
        """Have no further cell started, and send the signal to those that run."""
        unfinished = self.folder / f".{self.STOPPED}"
        unfinished.write_text(str(number), "utf-8")
        os.replace(unfinished, self.folder / self.STOPPED)
        for file in self.folder.glob("[0-9]*"):
            _send(int(file.name), number)

    @contextmanager
    def noting(self, child: int) -> Iterator[None]:
        """Have the process ``child`` sent the signal, should the sweep be stopped before the block ends."""
        file = self.folder / str(child)
        file.touch()
        if self.stopped is not None:  # since nobody has found the file
            _send(child, self.stopped)
        try:
            yield
        finally:
            file.unlink()


@contextmanager
def stopping_together() -> Iterator[Running]:
    """Have the signals that stop this process stop the cells its launcher runs on this machine, in any process."""
    with tempfile.TemporaryDirectory(prefix="vlp-") as folder:
        os.environ[RUNNING] = folder
        sweep = Running(Path(folder))
        try:
            with handing_on(sweep.stop):
                yield sweep
        finally:
            del os.environ[RUNNING]


def running() -> Running | None:
    """Return what the sweep runs on this machine; None outside of one, and on another machine than its own."""
    folder = os.environ.get(RUNNING)
    return Running(Path(folder)) if folder and Path(folder).is_dir() else None


def run_child(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run ``python ARGUMENTS`` to its end and return its exit status.

    The child is out of the terminal's reach, and gets the signals that stop this process from here: they are held back
    until it calls `vlp.durable.stopping.install`. What it prints goes where ``environment`` says under `OUTPUT`.

    Raises:
        Stopped: when the child has ended, if this process was told to stop and nothing above defers that.
    """
    with deferring():
        with blocked(), _output(environment) as output:
            child = subprocess.Popen(
                [sys.executable, *arguments],
                env=dict(environment),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        sweep = running()
        with sweep.noting(child.pid) if sweep else handing_on(partial(_send, child.pid)):
            return child.wait()


def _output(environment: Mapping[str, str]) -> AbstractContextManager[IO[bytes] | None]:
    """Return the file that gets a child's output, or nothing, which leaves it where ours goes."""
    file = environment.get(OUTPUT)
    return open(file, "ab") if file else nullcontext()


def _send(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        os.kill(child, number)


def follow_parent() -> None:
    """Die with the process that started this one for itself, if there is one."""
    if PARENT in os.environ:
        die_with_parent(int(os.environ.pop(PARENT)))


def die_with_parent(parent: int) -> None:
    """Have this process killed when ``parent``, which started it, ends (Linux; elsewhere it runs on to its end)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended in the meantime
            os.kill(os.getpid(), signal.SIGKILL)


def devices_for(cell: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that gives cell i of a sweep GPU i mod n; empty with fewer than two GPUs.

    An empty ``CUDA_VISIBLE_DEVICES`` hides all of them, and stays.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    driver = Path("/proc/driver/nvidia/gpus")
    present = [str(index) for index, _ in enumerate(driver.iterdir())] if driver.is_dir() else []
    names = present if visible is None else visible.split(",")
    return {"CUDA_VISIBLE_DEVICES": names[cell % len(names)].strip()} if len(names) > 1 else {}
