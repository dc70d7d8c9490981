"""Command lines as users start them: what each says on stderr, and the one that it says goes on."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.commands.conftest import SMALLEST
from tests.conftest import ROOT
from tests.faults.nursery import LIMIT_S
from tests.faults.runs import RUN, Training
from vlp.durable.locks import locked

LONG = ("checkpoint.every_n_steps=1", "checkpoint.keep=2", "trainer.max_steps=80", "trainer.val_check_interval=20")
"""A training that gives time to hit it; as a checkpoint follows each step, a stop leaves no further one."""

PAUSING = '''
import time
from pathlib import Path

import pytorch_lightning as pl


def pause(name):
    """Wait here for the seconds that the file ``pause-NAME`` has, if there is one, and say so."""
    if Path(f"pause-{name}").is_file():
        Path(f"at-{name}").touch()
        time.sleep(float(Path(f"pause-{name}").read_text()))


def go_wrong(batch):
    """Do what the file ``fault-NAME`` says, if there is one."""
    for fault in Path().glob("fault-*"):
        Path("at-fault").touch()
        if fault.name == "fault-error":
            raise KeyError("only here")
        batch.inputs.features.fill_(float("nan"))


class Pauses(pl.Callback):
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == 5:
            pause("step")
            if trainer.global_rank == 1:
                go_wrong(batch)

    def on_validation_batch_start(self, trainer, module, batch, batch_idx, dataloader_idx=0):
        if trainer.global_step == 20:
            pause("validation")
'''
OPTION = "# Waits where it is told to\npauses:\n  _target_: pausing.Pauses\n"


class Command:
    """A command line in ``folder``, out of the terminal's reach and in a process group of its own.

    Args:
        arguments: as typed, the interpreter first.
        folder: where it is started; what it says is kept in it.
        environment: added to that of this process.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = folder / f"said-{len(list(folder.glob('said-*')))}"
        with self.log.open("wb") as stderr, self.log.with_name(f"out-{self.log.name}").open("wb") as stdout:
            self.process = subprocess.Popen(
                arguments,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """What stands on stderr."""
        return self.log.read_text("utf-8", errors="replace")

    @property
    def last_line(self) -> str:
        """The last line on stderr."""
        return self.said.strip().rpartition("\n")[2]

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until ``condition`` holds.

        Raises:
            RuntimeError: if the command ends before.
            TimeoutError: if neither happens.
        """
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            if (status := self.process.poll()) is not None:
                raise RuntimeError(f"it ended with {status} too early:\n{self.said}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing to wait for came in {LIMIT_S} s:\n{self.said}")
            time.sleep(0.01)

    def send(self, number: int, to_all: bool = False) -> None:
        """Send a signal to the process, or to its whole group."""
        (os.killpg if to_all else os.kill)(self.process.pid, number)

    def end(self) -> int:
        """Wait for the end and return the exit status, -n if signal n ended it."""
        return self.process.wait(LIMIT_S)

    def catches(self, number: int) -> bool:
        """Whether the process has a handler for the signal."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (number - 1) & 1)

    def children(self) -> list[int]:
        """Return the processes that it has started."""
        file = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(child) for child in file.read_text("utf-8").split()]


def command(entry: str, overrides: Sequence[str]) -> list[str]:
    """Return the command line of ``train.py`` or ``probe.py`` of the smallest size."""
    return [sys.executable, str(ROOT / f"{entry}.py"), *SMALLEST, *overrides]


def training(overrides: Sequence[str] = ()) -> list[str]:
    """Return the command line of a training that gives time to hit it, in the folder `RUN`."""
    entry, *others = Training().command
    own = ("--config-dir", "mine", "callbacks=pauses", "dataset.num_regions=4", f"hydra.run.dir={RUN}")
    return command(entry, [*others, *own, *LONG, *overrides])


def prepare(folder: Path) -> None:
    """Write the configuration folder that `training` names."""
    (folder / "mine" / "callbacks").mkdir(parents=True)
    (folder / "mine" / "pausing.py").write_text(PAUSING, "utf-8")
    (folder / "mine" / "callbacks" / "pauses.yaml").write_text(OPTION, "utf-8")


def uninterrupted(folder: Path, name: str, overrides: Sequence[str] = ()) -> Path:
    """Return the folder of a `training` that nothing happens to, made once for all cases beside ``folder``.

    Raises:
        RuntimeError: if it fails.
    """
    reference = folder.parents[1] / f"reference-{name}"
    with locked(reference.with_suffix(".lock"), f"another case makes {reference}; waiting for it"):
        if not reference.is_dir():
            unfinished = folder / "reference"
            prepare(unfinished)
            whole = Command(training(overrides), unfinished)
            if whole.end() != 0:
                raise RuntimeError(f"the reference failed:\n{whole.said}")
            unfinished.rename(reference)
    return reference


def go_on(line: str, folder: Path, environment: Mapping[str, str] | None = None) -> Command:
    """Run the command that a line of output names to its end."""
    resumed = Command(shlex.split(line), folder, environment)
    resumed.end()
    return resumed


def steps(folder: Path) -> int:
    """Return how many steps the newest checkpoint in ``folder`` stands for."""
    return max((int(file.stem.rpartition("-")[2]) for file in checkpoints(folder)), default=0)


def checkpoints(folder: Path) -> Iterator[Path]:
    """Yield the checkpoints of the training in ``folder``."""
    yield from (folder / RUN / "checkpoints").glob("step-*.ckpt")


def unlike(folder: Path, reference: Path) -> list[str]:
    """Return where a training differs from one that nothing happened to."""
    return list(Training().differences(folder, reference))


def status_of(number: signal.Signals) -> int:
    """Return the status of a process that a signal stopped in good order."""
    return 128 + number
