"""The end of a command that was told to stop: what happened, and the command that goes on from there."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Collection, Sequence

from vlp.commands.children import SweepStopped
from vlp.commands.ranks import joins_another, leave_stopped
from vlp.durable.stopping import Stopped

REQUEUE = "SIGUSR1"
"""The signal by which SLURM tells a job that its time is almost over (``sbatch --signal``)."""

PATIENCE_S = 10.0
"""How long SLURM's controller may take to answer; a busy one must not cost the last line, which says how to go on."""


def end_stopped(stopped: Stopped) -> int:
    """Say on stderr what happened and, in the last line, which command goes on; return the exit status.

    SLURM is asked to queue the job again after its signal. Of a run's processes rank 0 alone says something.
    """
    if joins_another():
        return leave_stopped(stopped)
    _end_trackers(stopped.status)
    lines = [str(stopped)]
    if stopped.reason == REQUEUE:
        lines.append(requeue())
    lines.append(resuming_command(sys.orig_argv, stopped))
    sys.stderr.write("\n".join(lines) + "\n")
    return stopped.status


def resuming_command(arguments: Sequence[str], stopped: Stopped) -> str:
    """Return the command that goes on with what ``arguments`` began.

    As it was typed, but for what says where to begin once there is something to go on from: ``resume=never`` and
    ``ckpt_path=``, and in a sweep ``force=true``, which would measure its finished cells again.
    """
    dropped = {"resume", "ckpt_path"} if stopped.saved is not None else set()
    if isinstance(stopped, SweepStopped):
        dropped.add("force")
    return shlex.join(argument for argument in arguments if not _sets(argument, dropped))


def _sets(argument: str, keys: Collection[str]) -> bool:
    key, is_override, _ = argument.lstrip("+").partition("=")
    return bool(is_override) and key in keys


def requeue() -> str:
    """Ask SLURM to queue this job again, and return what became of that."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
    try:
        asked = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return f"SLURM job {job} could not be queued again: scontrol gave no answer in {PATIENCE_S:g} s"
    except OSError as error:
        return f"SLURM job {job} could not be queued again: scontrol: {error.strerror}"
    if asked.returncode != 0:
        return f"SLURM job {job} could not be queued again: {asked.stderr.strip() or asked.returncode}"
    return f"SLURM job {job} is queued again"


def _end_trackers(status: int) -> None:
    """End W&B's run now: what it prints at its end would stand below the last line."""
    if wandb := sys.modules.get("wandb"):
        wandb.finish(exit_code=status)
