"""Fitting a prober: every layer and prober seed in one training, each as if it were alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from torch import Tensor

from vlp.probes.probers.base import Predictions, Prober
from vlp.probes.probers.examples import Examples
from vlp.probes.probers.settings import FitSettings
from vlp.probes.probers.standardising import standardisation
from vlp.probes.probers.stopping import GrowingSteps, Monitor, StopGroups

# Axes: G groups: layers x prober seeds, layer by layer; N items.

ProberFactory = Callable[..., Prober]
"""Builds a prober from ``item_shape``, ``num_classes`` and ``seed``; what an option of ``conf/prober`` is."""


@dataclass(frozen=True)
class Fitted:
    """A prober at the best epoch of each group.

    Args:
        prober: holds all groups.
        best_epoch: (G,) long, from 1; 0 where the first parameters were the best.
    """

    prober: Prober
    best_epoch: Tensor

    def predict(self, examples: Examples) -> Predictions:
        """Return the likeliest class (G, N) long, and the log-probability (G, N), in nats, of the labels given.

        Raises:
            ValueError: if an item holds activations that are no finite numbers.
        """
        loader = examples.batches(self.prober.fitting.batch_size)
        batches = _trainer(self.prober.fitting, []).predict(self.prober, loader) or []
        return Predictions(*(torch.cat(parts, dim=1).cpu() for parts in zip(*batches, strict=True)))


def fit(
    prober: ProberFactory,
    train: Examples,
    val: Examples,
    num_classes: int,
    seed: int = 0,
    monitor: Monitor = "accuracy",
    statistics: tuple[Tensor, Tensor] | None = None,
) -> Fitted:
    """Train a prober on every layer of ``train`` for every prober seed, each stopped by its own figure on ``val``.

    What a group ends as depends on its layer, the seeds and the data, not on what is fitted beside it.

    Args:
        prober: builds it.
        train: items to train on, and whose mean and spread standardise all unless ``statistics`` are given.
        val: items that stop it.
        num_classes: labels C, at least 2.
        seed: of the probe.
        monitor: the validation figure that stops it. For ``loss`` its steps grow, and the first parameters count.
        statistics: what `standardisation` returns of other items.

    Raises:
        ValueError: if an item holds activations that are no finite numbers, a label is not in [0, num_classes), or a
            loss in validation is not finite.
    """
    for name, examples in (("training", train), ("validation", val)):
        _check_labels(examples.labels, num_classes, name)
    module = prober(item_shape=train.item_shape, num_classes=num_classes, seed=seed)
    module.mean, module.scale = statistics or standardisation(train, module.arrange)
    stopping = StopGroups(module.fitting.patience, monitor)
    loaders = train.training_batches(module.fitting, seed), val.batches(module.fitting.batch_size)
    if monitor == "loss":
        trainer = _trainer(module.fitting, [stopping, GrowingSteps()], num_sanity_val_steps=-1)  # all, before training
    else:
        trainer = _trainer(module.fitting, [stopping])
    trainer.fit(module, *loaders)
    return Fitted(module, stopping.best_epoch)


def _trainer(settings: FitSettings, callbacks: list[pl.Callback], num_sanity_val_steps: int = 0) -> pl.Trainer:
    """Return a trainer that says and writes nothing, on one device: probers are small, and equal on all processes."""
    trainer = pl.Trainer(
        accelerator=settings.accelerator,
        devices=1,
        precision=settings.precision,  # type: ignore[arg-type]
        max_epochs=settings.max_epochs,
        callbacks=callbacks,
        num_sanity_val_steps=num_sanity_val_steps,
        use_distributed_sampler=False,
        inference_mode=False,  # parameters taken aside in validation are trained on
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    connector = trainer._signal_connector
    connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]  # signals are the command's
    return trainer


def _check_labels(label: Tensor, num_classes: int, name: str) -> None:
    if label.min() < 0 or label.max() >= num_classes:
        found = f"{int(label.min())} to {int(label.max())}"
        raise ValueError(f"{name} labels must be 0 to {num_classes - 1}, found {found}")
