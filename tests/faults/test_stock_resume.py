"""Two faults of the stock stack: what it trains on after a resume. Each test fails with it and passes with ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, DistributedSampler

from tests.checkpointing.recorder import BATCH, EPOCH, SIZE, Data, Seen, fit, saving

STEPS = 14
CHECKPOINTS = Path("checkpoints")

pytestmark = [
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended"),
]

Component = Callable[[Path, Path | None], Seen]


def stock(run_dir: Path, resume: Path | None) -> Seen:
    """Lightning's checkpoints, and torch's sampler that shuffles by seed and epoch."""
    loader = DataLoader(torch.arange(SIZE), BATCH, sampler=DistributedSampler(range(SIZE), 1, 0), num_workers=1)
    name = {"filename": "step-{step:07d}", "auto_insert_metric_name": False}
    checkpoints = ModelCheckpoint(run_dir / CHECKPOINTS, every_n_train_steps=1, save_top_k=-1, **name)
    return fit(loader, checkpoints, resume=resume, max_steps=STEPS, limit_val_batches=0)


def ours(run_dir: Path, resume: Path | None) -> Seen:
    """Our checkpoints and our order."""
    checkpoints = saving(run_dir, every_n_steps=1, keep=STEPS)
    return fit(Data(num_workers=1), checkpoints, resume=resume, max_steps=STEPS, limit_val_batches=0)


def both(fault: str) -> pytest.MarkDecorator:
    """Have a test fail with the stock component, as ``fault`` says, and pass with ours."""
    wrong = pytest.param(stock, marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason=fault))
    return pytest.mark.parametrize("component", [wrong, ours])


@both("a loader begins its epoch anew")
def test_a_run_resumed_within_an_epoch_goes_on_with_the_batches_it_has_not_seen(component: Component, tmp_path: Path):
    whole = component(tmp_path / "whole", None)
    assert len(whole) == STEPS
    resumed = component(tmp_path / "resumed", tmp_path / "whole" / CHECKPOINTS / "step-0000003.ckpt")
    assert resumed == whole[3:]


@both("the first epoch's order comes again: its iterator is made before the sampler is told the epoch")
def test_a_run_resumed_at_the_last_batch_of_an_epoch_goes_on_with_the_next(component: Component, tmp_path: Path):
    whole = component(tmp_path / "whole", None)
    assert whole[:EPOCH] != whole[EPOCH : 2 * EPOCH]
    resumed = component(tmp_path / "resumed", tmp_path / "whole" / CHECKPOINTS / f"step-{EPOCH:07d}.ckpt")
    assert resumed == whole[EPOCH:]
