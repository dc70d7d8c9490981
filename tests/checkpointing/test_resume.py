"""A training that goes on from any of its checkpoints ends as the one that was never interrupted: to the bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from tests.test_pretraining import config
from vlp.commands.train import train

EVERY_STEP = ("checkpoint.every_n_steps=1", "checkpoint.keep=99")
EIGHT_STEPS = ("trainer.max_steps=8", "trainer.val_check_interval=3")
BY_EPOCHS = ("trainer.max_steps=-1", "trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1")
# 48 pairs in batches of 8: an epoch has 6 batches, so a boundary falls on its last one and others after it.
VARIANTS = {
    "validated within an epoch and after it": EIGHT_STEPS,
    "one objective a step": (*EIGHT_STEPS, "objective=uniter"),
    "dropout": (*EIGHT_STEPS, "size.dropout=0.2"),
    "accumulated": ("trainer.max_steps=5", "trainer.val_check_interval=3", "trainer.accumulate_grad_batches=4"),
    "by epochs": (*BY_EPOCHS, "trainer.val_check_interval=1.0"),
    "half an epoch at a time": (*BY_EPOCHS, "trainer.val_check_interval=0.5"),
    "epochs cut short": (*EIGHT_STEPS, "+trainer.limit_train_batches=4"),
    "two workers": (*EIGHT_STEPS, "trainer.max_steps=4", "dataset.num_workers=2"),
}


def left(run_dir: Path) -> tuple[bytes, str]:
    """Return all that a training has left: the last checkpoint, to the byte, and the text of its curves."""
    return (run_dir / "checkpoints" / "last.ckpt").read_bytes(), (run_dir / "metrics.csv").read_text()


def killed_at(step: Path, whole: Path, run_dir: Path) -> None:
    """Make ``run_dir`` what a kill leaves after ``step`` was written: later lines in the table, no later checkpoint."""
    (run_dir / "checkpoints").mkdir(parents=True)
    for file in step.parent.glob("step-*"):
        if file.name <= step.name + ".sha256":
            shutil.copy(file, run_dir / "checkpoints")
    shutil.copy(whole / "metrics.csv", run_dir)


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_ends_the_same_from_whichever_checkpoint_it_goes_on(variant: str, tmp_path: Path):
    settings = config(*EVERY_STEP, *VARIANTS[variant])
    train(settings, tmp_path / "whole")
    checkpoint, table = left(tmp_path / "whole")
    steps = sorted((tmp_path / "whole" / "checkpoints").glob("step-*.ckpt"))
    assert len(steps) == torch.load(steps[-1], weights_only=True)["global_step"]
    for step in steps:
        run_dir = tmp_path / step.stem
        killed_at(step, tmp_path / "whole", run_dir)
        train(settings, run_dir)
        resumed_checkpoint, resumed_table = left(run_dir)
        assert resumed_table == table, step.name
        assert resumed_checkpoint == checkpoint, step.name
