"""A fault of the stock stack: what SIGTERM leaves behind. The test fails with it and passes with ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from tests.checkpointing.recorder import Data, Recorder, fit, saving
from tests.conftest import ROOT
from tests.faults.harness import FORK
from vlp.durable import stopping
from vlp.durable.stopping import Stopped

STEP = 5
"""The step after which the signal comes; no checkpoint is due before the last of 20."""


class Terminate(pl.Callback):
    """Sends SIGTERM to its own process."""

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == STEP - 1:
            os.kill(os.getpid(), signal.SIGTERM)


def stock(run_dir: Path) -> None:
    """Train with Lightning's handlers and checkpoints."""
    checkpoints = ModelCheckpoint(run_dir / "checkpoints", every_n_train_steps=20, save_last=True)
    trainer = pl.Trainer(
        accelerator="cpu",
        callbacks=[Terminate(), checkpoints],
        logger=False,
        max_steps=20,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Recorder(), DataLoader(torch.arange(160), 8))


def ours(run_dir: Path) -> None:
    """Train with our handlers and checkpoints."""
    stopping.install()
    try:
        with stopping.deferring():
            fit(Data(), Terminate(), saving(run_dir, every_n_steps=20), max_steps=20, limit_val_batches=0)
    except Stopped as stopped:
        sys.exit(stopped.status)


COMPONENTS: dict[str, Callable[[Path], None]] = {"stock": stock, "ours": ours}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Return the exit status of a training with each component, and the steps of the checkpoints it left."""
    folder = tmp_path_factory.mktemp("terminated")
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.test_stock_signals", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    "component",
    [
        pytest.param(
            "stock",
            marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason="it saves nothing and exits with 0"),
        ),
        "ours",
    ],
)
def test_sigterm_leaves_a_checkpoint_and_a_status_that_tells(component: str, ended: dict[str, list[Any]]):
    assert ended[component] == [128 + signal.SIGTERM, [STEP]]


def main(folder: Path) -> None:
    """Train with each component in a process forked from this one, and print how it ended."""
    found: dict[str, list[Any]] = {}
    for name, train in COMPONENTS.items():
        process = FORK.Process(target=train, args=(folder / name,))
        process.start()
        process.join()
        checkpoints = [path for path in (folder / name).rglob("*.ckpt") if not path.is_symlink()]
        steps = [torch.load(path, weights_only=True)["global_step"] for path in checkpoints]
        found[name] = [process.exitcode, steps]
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
