"""What every prober is: classifiers of one form for every layer and prober seed, fitted side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vlp.probes.probers.examples import ProberBatch
from vlp.probes.probers.settings import FitSettings

# Axes: S batches side by side (one a prober seed, or one for all), B items, L layers, P prober seeds, C classes,
# G = L * P groups, layer by layer (group l * P + p), A of which still train; I whatever shape a layer of an item has.


class Predictions(NamedTuple):
    """What probers say of items: the likeliest class (G, N) long, and the log-probability (nats) of the true one."""

    label: Tensor
    log_prob: Tensor


class Prober(pl.LightningModule):
    """Classifiers over cached activations, one for each layer and prober seed, each trained as if it were alone.

    A subclass states what it `reads`, makes its parameters, each with a leading axis of groups, and computes `logits`
    of its groups; `arrange` brings inputs into the form (..., L, I). Fit it with `vlp.probes.probers.fit`.

    Args:
        layout: layers L, then the shape I that one layer of an item has.
        num_classes: labels C, at least 2.
        optimizer: builds the optimiser from the parameters.
        fitting: how it is trained, with the prober seeds.
        seed: of the probe; with a prober seed it decides first parameters and order.

    Raises:
        ValueError: if ``num_classes`` is below 2.
    """

    reads: ClassVar[str] = ""
    """Which activations of a pair: ``attention``, ``states`` or ``features``."""

    mean: Tensor
    scale: Tensor
    groups: Tensor

    def __init__(
        self,
        layout: Sequence[int],
        num_classes: int,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        fitting: FitSettings,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"a prober needs at least 2 classes, got num_classes={num_classes}")
        self.num_layers, self.num_classes = layout[0], num_classes
        self.optimizer, self.fitting, self.seed = optimizer, fitting, seed
        self.num_groups = self.num_layers * len(fitting.seeds)
        self.register_buffer("mean", torch.zeros(*layout))
        self.register_buffer("scale", torch.ones(*layout))
        self.register_buffer("groups", torch.arange(self.num_groups))

    def arrange(self, inputs: Tensor) -> Tensor:
        """Return inputs (..., *item) as (..., L, I)."""
        return inputs

    def logits(self, inputs: Tensor) -> Tensor:
        """Return (A, B, C) of standardised inputs (A, B, I)."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (A, B, C) of inputs (S, B, *item)."""
        by_layer = self.arrange(inputs).movedim(2, 0)  # (L, S, B, I)
        standard = (by_layer - self.mean[:, None, None]).mul_(self.scale[:, None, None])
        grouped = standard.expand(-1, len(self.fitting.seeds), *standard.shape[2:]).flatten(0, 1)
        logits = self.logits(grouped if len(self.groups) == self.num_groups else grouped[self.groups])
        return logits.float()  # losses are summed in single precision whatever the arithmetic

    def uniform_groups(self, *shapes: tuple[int, int]) -> list[nn.Parameter]:
        """Return parameters (G, *shape) drawn as `nn.Linear` does, for each prober seed, the same for every layer."""
        drawn = [self._uniform(seed, shapes) for seed in self.fitting.seeds]
        return [nn.Parameter(torch.stack(parts).repeat(self.num_layers, 1, 1)) for parts in zip(*drawn, strict=True)]

    def _uniform(self, prober_seed: int, shapes: Iterable[tuple[int, int]]) -> list[Tensor]:
        (state,) = np.random.SeedSequence([self.seed, prober_seed]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state) >> 1)
        return [(2 * torch.rand(shape, generator=generator) - 1) / math.sqrt(shape[0]) for shape in shapes]

    def training_step(self, batch: ProberBatch, batch_idx: int) -> Tensor:
        """Return the sum of the groups' mean losses, in nats, so that no group feels another one."""
        return -self._log_prob(self(batch.inputs), batch.label).mean(1).sum()

    def predict_step(self, batch: ProberBatch, batch_idx: int) -> Predictions:
        """Return predictions of the groups that train, (A, B).

        Raises:
            ValueError: if a loss is NaN or infinite, naming the item.
        """
        logits = self(batch.inputs)
        log_prob = self._log_prob(logits, batch.label)
        if not log_prob.isfinite().all():
            raise ValueError(self._what_is_wrong(log_prob, batch, batch_idx))
        return Predictions(logits.argmax(-1), log_prob)

    def _what_is_wrong(self, log_prob: Tensor, batch: ProberBatch, batch_idx: int) -> str:
        group, place = (~log_prob.isfinite()).nonzero()[0].tolist()
        kind = "test" if self.trainer.predicting else "validation"
        item = f"item {batch_idx * self.fitting.batch_size + place} of the {kind} items"
        if not batch.inputs[0, place].isfinite().all():
            return f"{item} holds NaN or infinite activations"
        layer, seed = divmod(int(self.groups[group]), len(self.fitting.seeds))
        of_layer = f"layer {layer} (from 0 to {self.num_layers - 1}), prober seed {self.fitting.seeds[seed]}"
        return f"{of_layer}: the loss of {item} is not finite, while its activations are; is optimizer.lr too high?"

    def validation_step(self, batch: ProberBatch, batch_idx: int) -> dict[str, Tensor]:
        """Return, for the groups that train, which items are right (A, B), and the true label's log-probability."""
        label, log_prob = self.predict_step(batch, batch_idx)
        return {"correct": label == batch.label, "log_prob": log_prob}

    def _log_prob(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the log-probability (A, B) of the labels (S, B)."""
        seeds = self.groups % len(self.fitting.seeds) if len(label) > 1 else torch.zeros_like(self.groups)
        return -nn.functional.cross_entropy(logits.transpose(1, 2), label[seeds], reduction="none")

    def configure_optimizers(self) -> Optimizer:
        """Build the optimiser."""
        return self.optimizer(self.parameters())

    def narrow(self, is_kept: Tensor, optimizer: Optimizer) -> None:
        """Let only the groups that ``is_kept`` (A,) says train on: the others cost nothing from here."""
        for parameter in self.parameters():
            parameter.data, parameter.grad = parameter.data[is_kept], None
            state: dict[str, Any] = optimizer.state[parameter]
            of_groups = {name: each for name, each in state.items() if each.dim() == parameter.dim()}
            state.update({name: each[is_kept] for name, each in of_groups.items()})
        self.groups = self.groups[is_kept]

    def restore(self, parameters: dict[str, Tensor]) -> None:
        """Hold all groups again, with these parameters (G, ...) by name."""
        for name, parameter in self.named_parameters():
            parameter.data, parameter.grad = parameters[name], None
        self.groups = torch.arange(self.num_groups, device=self.groups.device)
