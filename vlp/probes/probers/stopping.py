"""Early stopping of each group for itself, with the best parameters of each kept; and steps short enough for it."""

from __future__ import annotations

from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from vlp.probes.probers.base import Prober
from vlp.probes.probers.examples import ProberBatch

Monitor = Literal["accuracy", "loss"]

FIRST_RATE = 1 / 16
"""Part of the learning rate at which `GrowingSteps` begins."""


class StopGroups(pl.Callback):
    """Stops a group after ``patience`` epochs without a better validation figure; at the end each is at its best epoch.

    Groups that stopped leave the computation. Of epochs of equal accuracy the one of lower loss is the better. If the
    trainer validates before it trains, the first parameters count as epoch 0. Figures are summed in double precision on
    the processor, since Apple's GPUs have none.

    Args:
        patience: epochs, at least 1.
        monitor: the figure; ``loss`` for probabilities that are to be used as such.

    Attributes:
        best_epoch: (G,) long, from 1; 0 for the first parameters.
    """

    def __init__(self, patience: int, monitor: Monitor) -> None:
        self.patience, self.monitor = patience, monitor

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with nothing seen."""
        prober = _prober(pl_module)
        self.best_epoch = torch.zeros(prober.num_groups, dtype=torch.long)
        self.waited = torch.zeros(prober.num_groups, dtype=torch.long)
        self.best = torch.full((2, prober.num_groups), -torch.inf, dtype=torch.float64)
        self.parameters = {name: each.detach().clone() for name, each in prober.named_parameters()}

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the sums of the last epoch."""
        self.sums = torch.zeros(2, len(_prober(pl_module).groups), dtype=torch.float64)

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
        self.sums += torch.stack([outputs[name].cpu().double().sum(1) for name in ("correct", "log_prob")])

    def on_sanity_check_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the first parameters."""
        self._keep(_prober(pl_module), epoch=0)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the groups that got better, and go on with those that did not stop."""
        prober = _prober(pl_module)
        self._keep(prober, trainer.current_epoch + 1)
        goes_on = self.waited[prober.groups.cpu()] < self.patience
        if not goes_on.any():
            trainer.should_stop = True
        elif not goes_on.all():
            prober.narrow(goes_on.to(prober.device), trainer.optimizers[0])

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put every group at its best epoch."""
        _prober(pl_module).restore(self.parameters)

    def _keep(self, prober: Prober, epoch: int) -> None:
        running = prober.groups.cpu()
        score = self.sums if self.monitor == "accuracy" else self.sums.flip(0)
        is_better = _exceeds(score, self.best[:, running])
        self.best[:, running[is_better]] = score[:, is_better]
        self.best_epoch[running[is_better]] = epoch
        for name, parameter in prober.named_parameters():
            here = is_better.to(parameter.device)
            self.parameters[name][prober.groups[here]] = parameter.detach()[here]
        self.waited[running] = (self.waited[running] + 1).masked_fill(is_better, 0)


class GrowingSteps(pl.Callback):
    """Begins at `FIRST_RATE` of the optimiser's learning rate and doubles it each epoch until it is whole.

    A few items are over-fitted within one epoch at the whole rate, before there is anything to stop at.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin."""
        self.schedule = LambdaLR(trainer.optimizers[0], lambda epoch: min(1.0, FIRST_RATE * 2**epoch))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Double the rate."""
        self.schedule.step()


def _exceeds(score: Tensor, best: Tensor) -> Tensor:
    """Whether columns (2, A) of ``score`` are above those of ``best``, the second row deciding where the first ties."""
    return (score[0] > best[0]) | ((score[0] == best[0]) & (score[1] > best[1]))


def _prober(module: pl.LightningModule) -> Prober:
    assert isinstance(module, Prober)
    return module
