"""What a checkpoint of UNITER-base with AdamW's state costs, by our writer and by Lightning's, beside training steps.

Ours is durable and has its digest, Lightning's is neither. Each save has a new name, and the one before is removed.
Seconds are those of the clock, since a save waits for the disk; checkpoints go below the working directory, as runs do.
"""

from __future__ import annotations

import itertools
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.plugins import CheckpointIO, TorchCheckpointIO

from benchmarks.goals import Goal
from benchmarks.timing import Ratio, Times, interleave, ratio
from benchmarks.training import FEATURE_WIDTH, POOL, VOCAB, Pairs, ours
from vlp.checkpointing import CheckpointWriter
from vlp.data.pairs import PretrainingBatch

EVERY_N_STEPS, TIMED_STEPS = 50, 2
SEEDINGS = 1000
ROUNDS = 3
SAVE_PERCENT, SEEDING_PERCENT, SAVE_RATIO = 2.0, 0.1, 1.0


def measure(rounds: int | None = None) -> list[Goal]:
    """Return what saving and seeding add to training."""
    training = ours(Pairs.draw(POOL, FEATURE_WIDTH, VOCAB), None, model="uniter")
    with tempfile.TemporaryDirectory(dir=".") as folder:
        times = interleave(contenders(training, Path(folder)), rounds or ROUNDS, time.perf_counter)
    saving = f"a save every {EVERY_N_STEPS} steps / the steps, %"
    return [
        _percent(saving, times, "ours", EVERY_N_STEPS / TIMED_STEPS, SAVE_PERCENT),
        Goal.of_ratio("a save / Lightning's, which is not durable", ratio(times, "ours", "lightning"), SAVE_RATIO),
        _percent("seeding a step / the step, %", times, "seeding", SEEDINGS / TIMED_STEPS, SEEDING_PERCENT),
    ]


def contenders(training: partial[None], folder: Path) -> dict[str, Callable[[], object]]:
    """Return two steps of ``training``, saves of its state into ``folder`` by ours and Lightning's, and seedings."""
    *rest, batches = training.args
    module, optimizer = rest[:2]
    middle = len(batches) // 2  # they stand in the order of their lengths
    steps = partial(training.func, *rest, batches[middle - 1 : middle + 1])
    steps()  # AdamW has no state before
    state = {"state_dict": module.state_dict(), "optimizer_states": [optimizer.state_dict()], "global_step": 1}
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    module.trainer = pl.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    return {
        "steps": steps,
        "ours": _saves(CheckpointWriter(), state, folder / "ours"),
        "lightning": _saves(TorchCheckpointIO(), state, folder / "lightning"),
        "seeding": partial(_seed, module, batches[0]),
    }


def _saves(component: CheckpointIO, state: dict[str, Any], folder: Path) -> Callable[[], None]:
    steps = itertools.count()

    def save() -> None:
        step = next(steps)
        component.save_checkpoint(state, folder / f"{step}.ckpt")
        component.remove_checkpoint(folder / f"{step - 1}.ckpt")

    return save


def _seed(module: pl.LightningModule, batch: PretrainingBatch) -> None:
    for index in range(SEEDINGS):
        module.on_train_batch_start(batch, index)


def _percent(name: str, times: Times, what: str, passes: float, limit: float) -> Goal:
    """Return the goal that ``what`` costs at most ``limit`` percent of ``passes`` times the steps."""
    shares = [100 * cost / (passes * steps) for cost, steps in zip(times[what], times["steps"], strict=True)]
    best = 100 * min(times[what]) / (passes * min(times["steps"]))
    seconds = f"{statistics.median(times[what]):.2f} s beside {statistics.median(times['steps']):.2f} s"
    return Goal.of_ratio(name, Ratio(statistics.median(shares), best), limit, note=seconds)
