"""Early stopping of each group for itself, with the best parameters of each kept."""

from __future__ import annotations

from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor

from vlp.probes.probers.base import Prober
from vlp.probes.probers.examples import ProberBatch

Monitor = Literal["accuracy", "loss"]


class StopGroups(pl.Callback):
    """Stops a group after ``patience`` epochs without a better validation figure; at the end each is at its best epoch.

    Groups that stopped leave the computation. Of epochs of equal accuracy the one of lower loss is the better.

    Args:
        patience: epochs, at least 1.
        monitor: the figure; ``loss`` for probabilities that are to be used as such.

    Attributes:
        best_epoch: (G,) long, from 1.
    """

    def __init__(self, patience: int, monitor: Monitor) -> None:
        self.patience, self.monitor = patience, monitor

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with nothing seen."""
        prober = _prober(pl_module)
        self.best_epoch = torch.zeros_like(prober.groups)
        self.waited = torch.zeros_like(prober.groups)
        self.best = torch.full((2, prober.num_groups), -torch.inf, dtype=torch.float64, device=prober.device)
        self.parameters = {name: each.detach().clone() for name, each in prober.named_parameters()}

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the sums of the last epoch."""
        self.sums = torch.zeros(2, len(_prober(pl_module).groups), dtype=torch.float64, device=pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: ProberBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add a batch: how many are right, and the log-probability of all."""
        self.sums += torch.stack([outputs[name].double().sum(1) for name in ("correct", "log_prob")])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the groups that got better, and go on with those that did not stop."""
        prober = _prober(pl_module)
        running = prober.groups
        score = self.sums if self.monitor == "accuracy" else self.sums.flip(0)
        is_better = _exceeds(score, self.best[:, running])
        self.best[:, running[is_better]] = score[:, is_better]
        self.best_epoch[running[is_better]] = trainer.current_epoch + 1
        for name, parameter in prober.named_parameters():
            self.parameters[name][running[is_better]] = parameter.detach()[is_better]
        self.waited[running] = (self.waited[running] + 1).masked_fill(is_better, 0)
        goes_on = self.waited[running] < self.patience
        if not goes_on.any():
            trainer.should_stop = True
        elif not goes_on.all():
            prober.narrow(goes_on, trainer.optimizers[0])

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put every group at its best epoch."""
        _prober(pl_module).restore(self.parameters)


def _exceeds(score: Tensor, best: Tensor) -> Tensor:
    """Whether columns (2, A) of ``score`` are above those of ``best``, the second row deciding where the first ties."""
    return (score[0] > best[0]) | ((score[0] == best[0]) & (score[1] > best[1]))


def _prober(module: pl.LightningModule) -> Prober:
    assert isinstance(module, Prober)
    return module
