"""The smallest training there is, which remembers what it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vlp.checkpointing import CheckpointWriter, MetricsFile, SaveCheckpoints
from vlp.commands.ranks import watching
from vlp.data.ordering import Place, TrainingOrder

SIZE, BATCH = 48, 8
EPOCH = SIZE // BATCH

Seen = list[list[int]]


class Recorder(pl.LightningModule):
    """A weight, and the numbers of the samples of every batch it was trained on.

    Args:
        losses: validation losses to log, one a validation; the last stays.
    """

    def __init__(self, losses: tuple[float, ...] = (1.0,)) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.losses = list(losses)
        self.seen: Seen = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.seen.append(batch.tolist())
        return self.weight * batch.float().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Look at a batch."""

    def on_validation_epoch_end(self) -> None:
        self.log("val/loss", self.losses.pop(0) if len(self.losses) > 1 else self.losses[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class Numbers(Dataset):
    """Batches of the numbers they were asked for by."""

    def __getitem__(self, places: list[Place]) -> Tensor:
        return torch.tensor([place.index for place in places])


class Data(pl.LightningDataModule):
    """Our order, from where a checkpoint says, and three batches to validate on.

    Args:
        num_workers: of the training loader.
    """

    def __init__(self, num_workers: int = 0) -> None:
        super().__init__()
        self.num_workers, self.position = num_workers, (0, 0)

    def train_dataloader(self) -> DataLoader:
        epoch, start = self.position
        order = TrainingOrder(SIZE, BATCH, seed=0, epoch=epoch, start=start)
        return DataLoader(Numbers(), sampler=order, batch_size=None, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(torch.arange(3))


def saving(run_dir: Path, **options: Any) -> SaveCheckpoints:
    """Return our callback, which writes below ``run_dir``; ``on_error`` is the writer's."""
    writer = CheckpointWriter(options.pop("on_error", "stop"))
    table = MetricsFile(run_dir / "metrics.csv", options.pop("rows", 0), writer.as_told)
    chosen = {"every_n_steps": 2, "keep": 2, "monitor": "val/loss", **options}
    return SaveCheckpoints(run_dir / "checkpoints", writer, table, **chosen)


def fit(
    data: pl.LightningDataModule | DataLoader,
    *callbacks: pl.Callback,
    module: Recorder | None = None,
    resume: Path | None = None,
    **options: Any,
) -> Seen:
    """Train for eight steps, validated after every third, and return what was seen."""
    module = module or Recorder()
    ours = next((callback for callback in callbacks if isinstance(callback, SaveCheckpoints)), None)
    settings: dict[str, Any] = {
        "max_steps": 8,
        "max_epochs": -1,
        "val_check_interval": 3,
        "check_val_every_n_epoch": None,
    }
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    trainer = pl.Trainer(
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=[ours.table] if ours else False,
        plugins=[ours.writer] if ours else None,
        use_distributed_sampler=False,
        **{**settings, **quiet, **options},
    )
    with watching(trainer):
        trainer.fit(module, data, ckpt_path=resume, weights_only=True)
    return module.seen
