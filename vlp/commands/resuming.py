"""Where a training begins: at a checkpoint, verified and of this configuration, or at its start."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlp.checkpointing import Generations, SaveCheckpoints, check_kept
from vlp.checkpointing.generations import BEST, LAST
from vlp.checkpointing.writer import verify
from vlp.commands.identity import content_hash
from vlp.commands.ranks import joins_another
from vlp.durable.digests import sidecar
from vlp.durable.files import remove_leftovers
from vlp.models.checkpoints.files import RECORD, load_plain
from vlp.models.checkpoints.records import checked_record
from vlp.models.checkpoints.vlp import trained_behaviour
from vlp.nonfinite import FAULTS_FOLDER
from vlp.results import RUN_FILE

log = logging.getLogger(__name__)

CHECKPOINTS, METRICS, EARLIER = "checkpoints", "metrics.csv", "earlier"
OF_A_TRAINING = (METRICS, RUN_FILE, FAULTS_FOLDER)
"""What lies beside the checkpoints and is of the same training."""
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
        released_behaviour: whether the checkpoint was trained with what the model's release does wrong; None where it
            does not say.
    """

    checkpoint: Path | None = None
    rows: int = 0
    released_behaviour: bool | None = None


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
    is_own = path is not None and path.parent == (run_dir / CHECKPOINTS).resolve()
    state, behaviour = _state(path, config, run_dir if is_own else None) if path is not None else ({}, None)
    if not joins_another():
        set_aside(run_dir, path if is_own else None)
        if path is not None and is_own:
            _point(path, state["best"])
    if path is not None:
        log.info("going on from %s", path)
    return Start(path, state["rows"] if is_own else 0, behaviour)


def set_aside(run_dir: Path, start: Path | None = None) -> None:
    """Move what an earlier training has left to ``earlier/N``; do nothing where there is nothing.

    Where this one goes on from ``start``, that is the checkpoints after it, with a copy of the curves.
    """
    generations = Generations(run_dir / CHECKPOINTS)
    files = [path for path in generations.all() if start is None or path.name > start.name]
    if not files:
        return
    taken = [int(folder.name) for folder in (run_dir / EARLIER).glob("*") if folder.name.isdecimal()]
    folder = run_dir / EARLIER / str(max(taken, default=0) + 1)
    (folder / CHECKPOINTS).mkdir(parents=True)
    for file in (place for path in files for place in (path, sidecar(path)) if place.exists()):
        file.rename(folder / CHECKPOINTS / file.name)
    for link in (file for file in generations.folder.glob("*.ckpt") if file.is_symlink() and not file.exists()):
        link.unlink()
    for name in OF_A_TRAINING:
        if start is None and (run_dir / name).exists():
            (run_dir / name).rename(folder / name)
    if start is not None and (run_dir / METRICS).exists():
        shutil.copy2(run_dir / METRICS, folder / METRICS)
    further = " that had come further" if start is not None else ""
    log.warning("%s held an earlier training%s, which is in %s now", run_dir, further, folder)


def _chosen(config: Config, run_dir: Path) -> Path | None:
    """Return the checkpoint to begin at, verified; None for none."""
    generations, asked = Generations(run_dir / CHECKPOINTS), config["ckpt_path"]
    if int(os.environ.get(RESTARTS, 0)) > 0 and (newest := generations.newest_good()):
        # SLURM runs the job's command as it was, which may say where it began.
        log.info("queued again by SLURM: resume=%s and ckpt_path=%s are passed over", config["resume"], asked)
        return newest
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
    if asked != LAST:  # the newest good one was verified when it was looked for
        verify(path)
    return path.resolve()


def _state(path: Path, config: Config, run_dir: Path | None = None) -> tuple[dict[str, Any], bool | None]:
    """Return what `SaveCheckpoints` kept in a checkpoint, and the behaviour that its weights were trained with.

    One of ``run_dir`` has to be of this configuration.
    """
    loaded = load_plain(path)
    try:
        there, _ = str(loaded[RECORD][CONFIG_HASH]), loaded["callbacks"][SaveCheckpoints.__qualname__]
    except (KeyError, TypeError):
        raise ValueError(f"{path} is no checkpoint of a training here; weights=PATH of probe.py reads others") from None
    state = check_kept(loaded, path)
    here = content_hash(config)
    if there != here and run_dir is not None:
        raise ValueError(
            f"{run_dir} holds a checkpoint of another configuration ({there[:12]}, this one is {here[:12]}): "
            "give another hydra.run.dir, or resume=never"
        )
    if there != here:
        log.warning("%s is of another configuration (%s, this one is %s)", path, there[:12], here[:12])
    return state, trained_behaviour(checked_record(loaded[RECORD], f"{path}, record"), path)


def _point(path: Path, best: Mapping[str, float]) -> None:
    """Have the names of a run's checkpoints lead where they did when ``path`` was written."""
    generations = Generations(path.parent)
    generations.point(LAST, path)
    if best and (file := generations.path(int(best["step"]))).is_file():
        generations.point(BEST, file)
