"""Faults of a training on two processes: they end together and say what of, and it goes on to the same bit."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.faults.case import Case, Verdict
from tests.faults.commands import RUN, Command, go_on, prepare, status_of, steps, training, uninterrupted, unlike

GROUP = "ranks"
SIGTERM, SIGINT, SIGKILL = signal.SIGTERM, signal.SIGINT, signal.SIGKILL
TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_steps=40")
WITHIN_S = 60
"""A rank that dies takes the run down within a minute."""


def cases(seed: int, count: int | None = None) -> list[Case]:
    """Return the cases; nothing is drawn."""
    ways = {
        "kill -9 of rank 1": (_kill_rank_1, 1, ["error: rank 1 ended with status -9: killed by SIGKILL"]),
        "kill -9 of rank 0": (partial(_send, SIGKILL), -SIGKILL, []),
        "kill -9 of both": (partial(_send, SIGKILL, to_all=True), -SIGKILL, []),
        "an error in rank 1": (partial(_fault, "error"), 1, ["error: rank 1", ": KeyError: 'only here'"]),
        "NaN in rank 1": (
            partial(_fault, "nan"),
            1,
            ["step 6 (epoch", "process 1 of 2): the loss of ", "is kept in {folder}/run/faults/step-0000006-rank1.pt"],
        ),
        "SIGTERM to rank 0": (partial(_send, SIGTERM), status_of(SIGTERM), ["stopped by SIGTERM at step ", "train.py"]),
        "SIGINT to both": (
            partial(_send, SIGINT, to_all=True),
            status_of(SIGINT),
            ["stopped by SIGINT at step ", "train.py"],
        ),
    }
    return [Case(GROUP, name, partial(_carry_out, *way)) for name, way in ways.items()][:count]


def _carry_out(act: Callable[[Command, Path], None], expected: int, tells: list[str], folder: Path) -> Verdict:
    """Hit a training, go on with it, and compare it with one that nothing happened to.

    Args:
        act: hits it.
        expected: the exit status it has to give.
        tells: what it has to say; with nothing, it cannot say anything.
        folder: where it is.
    """
    reference = uninterrupted(folder, GROUP, TWO)
    prepare(folder)
    first = Command(training(TWO), folder)
    act(first, folder)
    started = time.monotonic()
    status = first.end()
    seconds = time.monotonic() - started
    wrong = [f"it did not say {words!r}" for words in tells if words.format(folder=folder) not in first.said]
    if status != expected:
        wrong.append(f"status {status}, expected {expected}")
    if seconds > WITHIN_S:
        wrong.append(f"it took {seconds:.0f} s to end")
    if tells and not first.last_line.startswith("error: ") and "train.py" not in first.last_line:
        wrong.append("its last line is neither an error nor a command")
    for fault in folder.glob("fault-*"):
        fault.unlink()
    shutil.rmtree(folder / RUN / "faults", ignore_errors=True)  # for a look at, and not of the training itself
    line = first.last_line if "train.py" in tells else " ".join(training(TWO))
    last = go_on(line, folder)
    lost = unlike(folder, reference)
    detail = "\n".join([f"hit at step {steps(folder)}, ended {seconds:.1f} s after", *wrong, *lost])
    return Verdict(not lost, not wrong, f"{detail}\n{first.said if wrong else ''}{last.said if lost else ''}")


def _send(number: signal.Signals, command: Command, folder: Path, to_all: bool = False) -> None:
    command.wait_until(lambda: steps(folder) >= 5)
    command.send(number, to_all)


def _kill_rank_1(command: Command, folder: Path) -> None:
    command.wait_until(lambda: steps(folder) >= 5)
    os.kill(_rank_1(command), SIGKILL)


def _fault(kind: str, command: Command, folder: Path) -> None:
    (folder / f"fault-{kind}").touch()
    command.wait_until((folder / "at-fault").exists)


def _rank_1(command: Command) -> int:
    """Return the process of rank 1, among those that rank 0 has started."""
    environments = {child: Path(f"/proc/{child}/environ").read_bytes() for child in command.children()}
    return next(child for child, environment in environments.items() if b"\0LOCAL_RANK=1\0" in environment + b"\0")
