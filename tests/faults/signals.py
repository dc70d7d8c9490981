"""Signals and time limits put to a training: it saves, says which command goes on, and that one does, to the bit."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.faults.case import Case, Verdict
from tests.faults.commands import Command, go_on, prepare, status_of, steps, training, uninterrupted, unlike
from vlp.durable.stopping import SAME_SIGNAL_S

GROUP = "signals"
SIGTERM, SIGINT, SIGUSR1 = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1

SCONTROL = """#!/bin/sh
echo "$@" > "$(dirname "$0")/asked"
"""


@dataclass(frozen=True)
class Stop:
    """How a training is stopped.

    Args:
        act: what is done to it in its folder.
        status: the exit status it has to give.
        tells: what it has to say; nothing where it ends at once.
        overrides: of the training.
        pauses: where it waits, and how many seconds.
        environment: of the first start.
        is_told: whether others were told what they have to be.
    """

    act: Callable[[Command, Path], None]
    status: int
    tells: str
    overrides: tuple[str, ...] = ()
    pauses: dict[str, float] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    is_told: Callable[[Path], bool] = lambda folder: True


def cases(seed: int, count: int | None = None) -> list[Case]:
    """Return a case for each way to be stopped; nothing is drawn."""
    ways = {
        "SIGTERM": Stop(partial(_send, SIGTERM), status_of(SIGTERM), "stopped by SIGTERM at step "),
        "SIGINT to one begun with resume=never": Stop(
            partial(_send, SIGINT), status_of(SIGINT), "stopped by SIGINT at step ", ("resume=never",)
        ),
        "SIGTERM to all processes, two of them loaders": Stop(
            partial(_send, SIGTERM, to_all=True),
            status_of(SIGTERM),
            "stopped by SIGTERM at step ",
            ("dataset.num_workers=2",),
        ),
        "SIGTERM during start-up": Stop(
            _send_early, status_of(SIGTERM), "stopped by SIGTERM: nothing was under way that needs saving"
        ),
        "SIGINT during validation": Stop(
            partial(_send_at, "validation", SIGINT),
            status_of(SIGINT),
            "stopped by SIGINT at step 20, saved ",
            pauses={"validation": 1},
        ),
        "a second SIGTERM": Stop(_send_twice, status_of(SIGTERM), "", pauses={"step": 300}),
        "SIGUSR1 of SLURM": Stop(
            partial(_send, SIGUSR1),
            status_of(SIGUSR1),
            "SLURM job 1230_4 is queued again",
            environment={"SLURM_JOB_ID": "1234", "SLURM_ARRAY_JOB_ID": "1230", "SLURM_ARRAY_TASK_ID": "4"},
            is_told=lambda folder: (folder / "bin" / "asked").read_text() == "requeue 1230_4\n",
        ),
        "trainer.max_time": Stop(
            lambda training, folder: None,
            0,
            "stopped by trainer.max_time at step ",
            ("trainer.max_time=00:00:00:01",),
            pauses={"step": 1},
        ),
    }
    return [Case(GROUP, name, partial(_carry_out, stop)) for name, stop in ways.items()][:count]


def _carry_out(stop: Stop, folder: Path) -> Verdict:
    """Stop a training, go on as it says, and compare it with one that nothing happened to."""
    reference = uninterrupted(folder, GROUP)
    prepare(folder)
    _write_scontrol(folder / "bin")
    for name, seconds in stop.pauses.items():
        (folder / f"pause-{name}").write_text(str(seconds), "utf-8")
    arguments = training(stop.overrides)
    environment = {**stop.environment, "PATH": f"{folder / 'bin'}:/usr/bin:/bin"}
    first = Command(arguments, folder, environment)
    stop.act(first, folder)
    status = first.end()
    wrong = _untold(stop, first, status, folder)
    for name in stop.pauses:
        (folder / f"pause-{name}").unlink()
    line = first.last_line if stop.tells else " ".join(arguments)
    for _ in range(9):  # a time limit holds for each start anew
        last = go_on(line, folder)
        if "stopped by trainer.max_time" not in last.said:
            break
    lost = unlike(folder, reference)
    detail = "\n".join([f"stopped at step {steps(folder)}", *wrong, *lost, *([last.said] if lost else [])])
    return Verdict(not lost, not wrong, detail)


def _untold(stop: Stop, first: Command, status: int, folder: Path) -> list[str]:
    """Return what the stop should have said or done, and did not."""
    wrong = [] if status == stop.status else [f"status {status}, expected {stop.status}:\n{first.said}"]
    if stop.tells not in first.said:
        wrong.append(f"it did not say {stop.tells!r}:\n{first.said}")
    if ("train.py" in first.last_line) != bool(stop.tells):
        wrong.append(f"its last line should {'' if stop.tells else 'not '}be a command:\n{first.said}")
    if not stop.is_told(folder):
        wrong.append("SLURM was not asked")
    if "resume=never" in first.last_line:
        wrong.append(f"it would begin anew:\n{first.last_line}")
    return wrong


def _send(number: signal.Signals, command: Command, folder: Path, to_all: bool = False) -> None:
    command.wait_until(lambda: steps(folder) >= 5)
    command.send(number, to_all)


def _send_at(place: str, number: signal.Signals, command: Command, folder: Path) -> None:
    command.wait_until((folder / f"at-{place}").exists)
    command.send(number)


def _send_early(command: Command, folder: Path) -> None:
    command.wait_until(lambda: command.catches(SIGTERM))
    command.send(SIGTERM)


def _send_twice(command: Command, folder: Path) -> None:
    _send_at("step", SIGTERM, command, folder)
    time.sleep(2 * SAME_SIGNAL_S)
    command.send(SIGTERM)


def _write_scontrol(folder: Path) -> None:
    """Write a program that stands in for SLURM's."""
    folder.mkdir()
    (folder / "scontrol").write_text(SCONTROL, "utf-8")
    (folder / "scontrol").chmod(0o755)
