"""When checkpoints are written: every n steps, at the best validation, at the end, and when the run is told to stop."""

from __future__ import annotations

import logging
import math
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, Timer

from vlp.checkpointing.boundary import Boundary, position
from vlp.checkpointing.generations import BEST, LAST, Generations
from vlp.checkpointing.metrics_file import MetricsFile
from vlp.checkpointing.structure import Shape, check_structure, shape_of
from vlp.checkpointing.writer import CheckpointWriter
from vlp.data.loading import EveryBatch
from vlp.durable import stopping
from vlp.durable.stopping import MAX_TIME, Stopped

log = logging.getLogger(__name__)

MODES = {"min": operator.lt, "max": operator.gt}
REASONS = ("", MAX_TIME, "SIGUSR1", "SIGINT", "SIGTERM")
"""What may end a run before its time; where processes know of different ones, the later in this list is told."""

BEST_SO_FAR: Shape = {"value": float, "step": int}
TRAINING: Shape = {
    "pytorch-lightning_version": str,
    "global_step": int,
    "epoch": int,
    "state_dict": Mapping,
    "optimizer_states": list,
    "lr_schedulers": list,
    "loops": {"fit_loop": Mapping},
    "callbacks": {
        "SaveCheckpoints": {"rows": int, "world_size": int, "best": Mapping, "monitor": str | None, "mode": str}
    },
}
"""What a checkpoint has from which a training goes on."""


def check_kept(checkpoint: Any, path: Path) -> dict[str, Any]:
    """Return what `SaveCheckpoints` kept in a checkpoint, which has to have all that a training goes on with.

    Raises:
        DamagedError: naming the file and what it lacks.
    """
    check_structure(checkpoint, TRAINING, path)
    kept: dict[str, Any] = dict(checkpoint["callbacks"]["SaveCheckpoints"])
    if kept["best"]:
        check_structure(kept["best"], BEST_SO_FAR, path, "callbacks.SaveCheckpoints.best")
    return kept


class SaveCheckpoints(Checkpoint):
    """Writes checkpoints from which a training goes on exactly, and stops the run when it is told to.

    Each is the state at a `Boundary`; one written in the middle of accumulated batches or of a validation is that of
    the last step, and what came after is done again. The last step's is written when all is done.

    Args:
        folder: ``checkpoints`` of a run.
        writer: of the files; the trainer's `CheckpointIO`.
        table: ``metrics.csv``.
        every_n_steps: of the optimiser.
        keep: how many stay, besides the best.
        monitor: the logged value that says which is best; None for none.
        mode: whether it is best when ``min`` or ``max``.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        folder: Path,
        writer: CheckpointWriter,
        table: MetricsFile,
        every_n_steps: int,
        keep: int,
        monitor: str | None = None,
        mode: str = "min",
    ) -> None:
        for name, number in (("every_n_steps", every_n_steps), ("keep", keep)):
            if number < 1:
                raise ValueError(f"checkpoint.{name}={number}: expected 1 or more")
        if mode not in MODES:
            raise ValueError(f"checkpoint.mode={mode!r}: expected {' or '.join(MODES)}")
        self.generations, self.writer, self.table = Generations(folder), writer, table
        self.every_n_steps, self.keep, self.monitor, self.mode = every_n_steps, keep, monitor, mode
        self.best: dict[str, float] = {}
        self.boundary: Boundary | None = None
        self.world_size = 1
        self.step = self.saved_step = 0
        self.shared_batches = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of this: lines of the table, number of processes, the best value and step."""
        rows = self.table.rows if self.boundary is None else self.boundary.rows
        watched = {"monitor": self.monitor, "mode": self.mode}
        return {"rows": rows, "world_size": self.world_size, "best": dict(self.best), **watched}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take back the best so far, if it was found by the same measure and is in this folder."""
        best = dict(state_dict["best"])
        is_watched = (state_dict["monitor"], state_dict["mode"]) == (self.monitor, self.mode)
        self.best = best if best and is_watched and self.generations.path(int(best["step"])).is_file() else {}
        if best and not self.best:
            log.warning(
                "which checkpoint is best is found anew: it was %s of %s", state_dict["mode"], state_dict["monitor"]
            )

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the boundary's counters into a checkpoint; each run has its own ``trainer.max_time``."""
        if self.boundary is not None:
            checkpoint["loops"] = {"fit_loop": self.boundary.loops}
        checkpoint["callbacks"].pop("Timer", None)

    def on_load_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go to the place in the data where the checkpoint stands.

        Raises:
            ValueError: if another number of processes wrote it, whose places mean something else, or its counters are
                not those of Lightning's loops.
        """
        loops = shape_of(trainer.fit_loop.state_dict())
        check_structure(checkpoint, {"loops": {"fit_loop": loops}}, trainer.ckpt_path or "")
        written_by = checkpoint["callbacks"][self.state_key]["world_size"]
        if written_by != trainer.world_size:
            raise ValueError(
                f"{trainer.ckpt_path} was written by {written_by} process(es), this run has {trainer.world_size}: "
                "give as many devices"
            )
        self.boundary = Boundary(checkpoint["loops"]["fit_loop"], self.table.rows)
        self.step = checkpoint["global_step"]
        self.saved_step = self.step if self.generations.path(self.step).exists() else 0
        trainer.datamodule.position = position(self.boundary.loops)  # type: ignore[attr-defined]

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """Take down how many processes there are."""
        self.world_size = trainer.world_size

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Keep the boundary of a step, write it where it is time to, stop where that was asked for."""
        if trainer.global_step != self.step:
            self.step = trainer.global_step
            self.boundary = Boundary.of(trainer, self.table.rows)
            if self.step % self.every_n_steps == 0 and not self.boundary.is_final:
                self._save(trainer)
        self._stop_if_asked(trainer)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Find out how many batches every process has: it is only in these that they can agree on something."""
        own = sum(trainer.num_val_batches)
        sampler = getattr(trainer.val_dataloaders, "sampler", None)
        shared = sampler.num_shared if isinstance(sampler, EveryBatch) else own * (trainer.world_size == 1)
        self.shared_batches = int(min(own, shared))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop where that was asked for."""
        if trainer.state.fn == "fit" and batch_idx < self.shared_batches:
            self._stop_if_asked(trainer)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write the checkpoint of the best validation so far."""
        if trainer.state.fn != "fit" or self.boundary is None:
            return
        self._flush(trainer)
        if self.monitor is None:
            return
        value = self._watched(trainer)
        if math.isfinite(value) and (not self.best or MODES[self.mode](value, self.best["value"])):
            self.best = {"value": value, "step": self.step}
            if not self.boundary.is_final:
                self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write the last checkpoint, with everything done."""
        if self.boundary is not None:
            self.boundary = self.boundary.validated(self.table.rows)
            self._save(trainer)

    def on_fit_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Do not let a run whose time was up before its first step pass for one that is done; see to a late signal.

        Raises:
            Stopped: in every process that was told.
        """
        if _is_time_up(trainer) and trainer.global_step == 0:
            raise Stopped(MAX_TIME)
        reason = stopping.received()
        if reason is not None and self.saved_step == self.step > 0:
            raise Stopped(reason, saved=self.generations.path(self.step), step=self.step)

    def _watched(self, trainer: pl.Trainer) -> float:
        """Return the value that says which checkpoint is best, as the first process has it."""
        value = trainer.strategy.broadcast(trainer.callback_metrics.get(self.monitor or ""))
        if value is None:
            known = ", ".join(sorted(name for name in trainer.callback_metrics if name.startswith("val/")))
            raise ValueError(f"checkpoint.monitor={self.monitor}: no validation gives that; they give {known}")
        return float(value)

    def _save(self, trainer: pl.Trainer) -> Path:
        """Write the boundary unless that is done, and have the names lead where they should; return the file."""
        path = self.generations.path(self.step)
        self._flush(trainer)
        if self.saved_step != self.step:
            trainer.save_checkpoint(path, weights_only=False)
            if trainer.strategy.broadcast(self.writer.error is None):
                self.saved_step = self.step
        if trainer.is_global_zero and self.saved_step == self.step:
            with self.writer.as_told():
                self.generations.point(LAST, path)
                if self.best.get("step") == self.step:
                    self.generations.point(BEST, path)
                self.generations.prune(self.keep)
        return path

    def _flush(self, trainer: pl.Trainer) -> None:
        """Write what was logged: a checkpoint's lines of ``metrics.csv`` are on the disk before it is."""
        for logger in trainer.loggers:
            logger.save()

    def _stop_if_asked(self, trainer: pl.Trainer) -> None:
        """Write the boundary and end the run, unless it is all but over.

        Raises:
            Stopped: in every process.
        """
        reason = self._agreed(trainer, stopping.received() or (MAX_TIME if _is_time_up(trainer) else ""))
        if not reason or (self.boundary is not None and self.boundary.is_final):
            return
        saved = None if self.boundary is None else self._save(trainer)
        if saved is not None and self.saved_step != self.step:
            raise self.writer.error or RuntimeError(f"{saved} was not written; the first process says why")
        raise Stopped(reason, saved=saved, step=self.step)

    def _agreed(self, trainer: pl.Trainer, reason: str) -> str:
        """Return the reason to stop that any process has."""
        if trainer.world_size == 1:
            return reason
        number = torch.tensor(float(REASONS.index(reason)), device=trainer.strategy.root_device)
        agreed = REASONS[int(trainer.strategy.reduce(number, reduce_op="max"))]
        if agreed:
            stopping.note(agreed)
        return agreed


def _is_time_up(trainer: pl.Trainer) -> bool:
    timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
    left = [seconds for timer in timers if (seconds := timer.time_remaining()) is not None]
    return min(left, default=1) <= 0
