"""A boundary: the state right after a step of the optimiser, in the form from which Lightning's loops go on exactly.

Lightning guesses from its counters in which hook a checkpoint was written, skips a validation that was due there, and
replays or skips an epoch after one written at its last batch. So checkpoints hold the counters of one situation only,
whichever hook they are written in: every batch so far is completed, the epoch is not, and the validation due at this
very batch is either ahead (it is run first) or behind (it is not run again).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as pl

EPOCH_LOOP = "epoch_loop."
NOTHING = {"ready": 0, "completed": 0, "started": 0, "processed": 0}
BEGUN = {**NOTHING, "ready": 1, "started": 1}
"""How a loop's total says that a batch was begun and not processed."""


@dataclass(frozen=True)
class Boundary:
    """Where a training stands.

    Args:
        loops: counters of Lightning's fit loop, as a checkpoint has them; the validation that is due lies ahead.
        rows: lines of ``metrics.csv``.
        is_final: whether the training ends here.
    """

    loops: dict[str, Any]
    rows: int
    is_final: bool = False

    @classmethod
    def of(cls, trainer: pl.Trainer, rows: int) -> Boundary:
        """Return where ``trainer`` stands; to be called when a batch has been trained on, before it is completed."""
        loops = trainer.fit_loop.state_dict()
        batches = loops[f"{EPOCH_LOOP}batch_progress"]
        for count in (batches["total"], batches["current"]):
            count["completed"] = count["processed"]
        is_due = _validation_is_due(trainer)
        if not is_due:  # else Lightning adds the one when it comes back to this batch for its validation
            loops[f"{EPOCH_LOOP}state_dict"]["_batches_that_stepped"] += 1
        return cls(_with_validation(loops, BEGUN if is_due else NOTHING), rows, _ends_here(trainer, loops))

    def validated(self, rows: int) -> Boundary:
        """Return the boundary with everything that belongs to it behind, the validation too."""
        return replace(self, loops=_with_validation(self.loops, NOTHING), rows=rows)


def position(loops: dict[str, Any]) -> tuple[int, int]:
    """Return the place in the data that the counters of a checkpoint stand for: epoch, and batches of it trained on."""
    batches = loops[f"{EPOCH_LOOP}batch_progress"]
    epoch: int = loops["epoch_progress"]["current"]["processed"]
    # `limit_train_batches` may end an epoch before its data do.
    return epoch, sys.maxsize if batches["is_last_batch"] else batches["current"]["ready"]


def _with_validation(loops: dict[str, Any], total: dict[str, int]) -> dict[str, Any]:
    progress = {"total": dict(total), "current": dict(NOTHING), "is_last_batch": False}
    return {**loops, f"{EPOCH_LOOP}val_loop.batch_progress": progress}


def _validation_is_due(trainer: pl.Trainer) -> bool:
    """Whether this batch is one to validate after; the extra validation of a run that is told to stop is none."""
    is_stopping, trainer.should_stop = trainer.should_stop, False
    fit = trainer.fit_loop
    try:
        return fit.epoch_loop._should_check_val_fx(fit._data_fetcher)  # type: ignore[arg-type]
    finally:
        trainer.should_stop = is_stopping


def _ends_here(trainer: pl.Trainer, loops: dict[str, Any]) -> bool:
    fit = trainer.fit_loop
    if 0 <= fit.max_steps <= trainer.global_step:
        return True
    epochs_done = loops["epoch_progress"]["current"]["processed"] + fit.epoch_loop._num_ready_batches_reached()
    return fit.max_epochs is not None and 0 <= fit.max_epochs <= epochs_done
