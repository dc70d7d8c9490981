"""Where a training begins: at a checkpoint, verified and of this configuration, or at its start."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlp.checkpointing import CheckpointWriter, Generations, SaveCheckpoints
from vlp.checkpointing.generations import BEST, LAST
from vlp.commands.identity import content_hash
from vlp.commands.ranks import joins_another
from vlp.durable.files import remove_leftovers
from vlp.pretraining import RECORD_KEY

log = logging.getLogger(__name__)

CHECKPOINTS, METRICS, EARLIER = "checkpoints", "metrics.csv", "earlier"
CONFIG_HASH = "config_hash"
RESTARTS = "SLURM_RESTART_COUNT"
"""Environment variable by which SLURM tells how often a job was queued again."""

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Start:
    """Where a training begins.

    Args:
        checkpoint: to go on from, None to begin anew.
        rows: lines of ``metrics.csv`` that were written before it.
    """

    checkpoint: Path | None = None
    rows: int = 0


def find_start(config: Config, run_dir: Path) -> Start:
    """Return where ``resume`` and ``ckpt_path`` say that the training in ``run_dir`` begins; the caller holds its lock.

    What an earlier training has left is set aside, in ``earlier/``, where this one does not go on from it.

    Raises:
        FileNotFoundError: if the checkpoint that was asked for is not there.
        ValueError: if it is damaged, no checkpoint of a training, or (unless named by its path) of another
            configuration.
    """
    if not joins_another():
        remove_leftovers(run_dir)
        remove_leftovers(run_dir / CHECKPOINTS)
    path = _chosen(config, run_dir)
    if path is None or path.parent != (run_dir / CHECKPOINTS).resolve():
        if not joins_another():
            set_aside(run_dir)
        if path is not None:
            _state(path, config)
        return Start(path)
    state = _state(path, config, run_dir)
    if not joins_another():
        _point(path, state["best"])
    log.info("going on from %s", path)
    return Start(path, state["rows"])


def set_aside(run_dir: Path) -> None:
    """Move the checkpoints and curves of an earlier training to ``earlier/N``; do nothing where there are none."""
    if not Generations(run_dir / CHECKPOINTS).all():
        return
    taken = [int(folder.name) for folder in (run_dir / EARLIER).glob("*") if folder.name.isdecimal()]
    folder = run_dir / EARLIER / str(max(taken, default=0) + 1)
    folder.mkdir(parents=True)
    for name in (METRICS, CHECKPOINTS):
        if (run_dir / name).exists():
            (run_dir / name).rename(folder / name)
    log.warning("%s held an earlier training, which is in %s now", run_dir, folder)


def _chosen(config: Config, run_dir: Path) -> Path | None:
    """Return the checkpoint to begin at, None for none."""
    generations, asked = Generations(run_dir / CHECKPOINTS), config["ckpt_path"]
    if int(os.environ.get(RESTARTS, 0)) > 0 and (newest := generations.newest_good()):
        return newest  # SLURM runs the job's command as it was, which may say where it began
    if asked is None:
        return generations.newest_good() if config["resume"] == "auto" else None
    if asked == LAST:
        path = generations.newest_good()
    elif asked == BEST:
        path = generations.target(BEST)
    else:
        path = Path(asked).expanduser().resolve()
    if path is None or not path.is_file():
        where = f"in {generations.folder}" if asked in (LAST, BEST) else f"at {path}"
        raise FileNotFoundError(f"ckpt_path={asked}: there is no such checkpoint {where}")
    return path.resolve()


def _state(path: Path, config: Config, run_dir: Path | None = None) -> dict[str, Any]:
    """Return what `SaveCheckpoints` kept in a checkpoint; one of ``run_dir`` has to be of this configuration."""
    loaded = CheckpointWriter().load_checkpoint(path)
    try:
        state, there = loaded["callbacks"][SaveCheckpoints.__qualname__], str(loaded[RECORD_KEY][CONFIG_HASH])
    except (KeyError, TypeError):
        raise ValueError(f"{path} is no checkpoint of a training here; weights=PATH of probe.py reads others") from None
    here = content_hash(config)
    if there != here and run_dir is not None:
        raise ValueError(
            f"{run_dir} holds a checkpoint of another configuration ({there[:12]}, this one is {here[:12]}): "
            "give another hydra.run.dir, or resume=never"
        )
    if there != here:
        log.warning("%s is of another configuration (%s, this one is %s)", path, there[:12], here[:12])
    return dict(state)


def _point(path: Path, best: Mapping[str, float]) -> None:
    """Have the names of a run's checkpoints lead where they did when ``path`` was written."""
    generations = Generations(path.parent)
    generations.point(LAST, path)
    if best and (file := generations.path(int(best["step"]))).is_file():
        generations.point(BEST, file)
