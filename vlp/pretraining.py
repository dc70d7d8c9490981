"""Pre-training: an encoder, weighted objectives, and one loss."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import FSDPStrategy
from pytorch_lightning.utilities import GradClipAlgorithmType
from pytorch_lightning.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vlp.configs import instantiate
from vlp.data.groups import Texts
from vlp.data.masking import Corruption
from vlp.data.pairs import PretrainingBatch
from vlp.models.checkpoints.files import RECORD
from vlp.models.encoder import VLEncoder
from vlp.nonfinite import FAULTS_FOLDER, Fault, faulty_objectives, first_faulty_parameter, gradient_norm
from vlp.objectives.itm import ImageTextMatching
from vlp.objectives.objective import Objective
from vlp.objectives.vla import VisionLanguageAlignment
from vlp.optimisation import Milestones, linear_schedule, parameter_groups, stepped_schedule, warmup_steps

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bundle:
    """The objectives of a pre-training, as ``conf/objective`` lists them.

    Args:
        parts: by name, what builds the objective.
        weights: by name, the factor of its loss; where one is sampled a step, how often it is.
        combine: ``sum`` (one pass for all, losses added) or ``sample`` (one objective a step, as UNITER does).
        texts: how many texts an image has in a step; None for pairs, some of which `itm` mismatches.
        begins: by name, the share of the steps after which a loss counts; of those not named, from the first.
    """

    parts: Mapping[str, Callable[..., Objective]]
    weights: Mapping[str, float]
    combine: str = "sum"
    texts: Texts | None = None
    begins: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.combine not in ("sum", "sample"):
            raise ValueError(f"objective.combine={self.combine!r}: expected 'sum' or 'sample'")
        if not self.parts:
            raise ValueError("objective.parts is empty: there is nothing to train on")
        if self.texts is not None and self.combine != "sum":
            raise ValueError(f"objective.texts={self.texts}: texts of one image need combine=sum, got {self.combine}")
        for name, begin in self.begins.items():
            if not 0 <= begin < 1 or self.combine != "sum":
                raise ValueError(f"objective.parts.{name}.begin={begin}: expected a share in [0, 1), and combine=sum")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Bundle:
        """Return the bundle of a plain ``objective`` config; a part that is null is left out."""
        described = {name: part for name, part in config["parts"].items() if part is not None}
        parts = {
            name: instantiate(part["module"], _key_=f"objective.parts.{name}.module")
            for name, part in described.items()
        }
        weights = {name: float(part["weight"]) for name, part in described.items()}
        texts = None if config.get("texts") is None else Texts(**config["texts"])
        begins = {name: float(part["begin"]) for name, part in described.items() if part.get("begin")}
        return cls(parts, weights, config["combine"], texts, begins)

    def build(self, encoder: VLEncoder, num_classes: int | None) -> nn.ModuleDict:
        """Return the objectives for ``encoder`` and data of ``num_classes`` detector classes.

        Raises:
            ValueError: if matched texts are to be told from unmatched ones, of which there are none.
        """
        built = {n: part(encoder=encoder, num_classes=num_classes) for n, part in self.parts.items()}
        telling = [n for n, o in built.items() if isinstance(o, ImageTextMatching | VisionLanguageAlignment)]
        if telling and self.texts is not None and not self.texts.unmatched:
            raise ValueError(
                f"objective.texts.unmatched=0: {', '.join(telling)} would have matched texts alone; expected 1 or "
                f"more, or {' and '.join(f'objective.parts.{name}=null' for name in telling)}"
            )
        return nn.ModuleDict(built)

    @property
    def task_weights(self) -> dict[str, float]:
        """How often each objective is drawn; empty where every step is for all."""
        return dict(self.weights) if self.combine == "sample" else {}

    @property
    def step_weights(self) -> dict[str, float]:
        """The factor of each objective's loss in a step that is for it."""
        return dict.fromkeys(self.weights, 1.0) if self.combine == "sample" else dict(self.weights)

    @property
    def shares(self) -> dict[str, float]:
        """The factor of each objective's loss in the mean over all steps, which is what training minimises."""
        total = sum(self.weights.values()) if self.combine == "sample" else 1.0
        return {name: weight / total for name, weight in self.weights.items()}


class PretrainingModule(pl.LightningModule):
    """Trains an encoder on a weighted sum of objectives.

    Logs each objective's held-out loss unweighted in nats (``val/mlm``) beside its trivial baseline and accuracy, and
    what training minimises (``val/loss``). ``losses`` holds those of the last training batch, unweighted, by objective,
    and as ``loss`` their weighted sum; `vlp.monitoring.LossCurves` logs them. Dropout is seeded a step from
    (seed, step, rank), so that no number depends on a generator's history.

    Args:
        encoder: what is trained.
        bundle: the objectives.
        num_classes: of the data's detector, background included, or None.
        optimizer: builds the optimiser from parameter groups.
        warmup: share of the steps, or number of them, over which learning rates rise linearly from 0.
        milestones: when learning rates fall after it, constant in between; None: linearly to 0 at the end.
        learning_rates: of parts that do not have the optimiser's, see `parameter_groups`.
        seed: of dropout.
        record: plain types kept in the checkpoint: what is needed to build the model again.
    """

    def __init__(
        self,
        encoder: VLEncoder,
        bundle: Bundle,
        num_classes: int | None,
        optimizer: partial[Optimizer],
        warmup: float = 0.1,
        milestones: Milestones | None = None,
        learning_rates: Mapping[str, Any] | None = None,
        seed: int = 0,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.objectives = bundle.build(encoder, num_classes)
        self.weights, self.shares, self.begins = bundle.step_weights, bundle.shares, bundle.begins
        self.optimizer, self.learning_rates, self.seed = optimizer, learning_rates, seed
        self.warmup, self.milestones = warmup, milestones
        self.record = dict(record or {})
        self.losses: dict[str, Tensor] = {}
        self.unchecked: tuple[PretrainingBatch, int] | None = None
        self.train()

    @property
    def corruptions(self) -> dict[str, Corruption]:
        """What each objective does to a pair before it is batched."""
        return {name: objective.corruption for name, objective in self.named_objectives()}

    def named_objectives(self, batch: PretrainingBatch | None = None) -> Iterable[tuple[str, Objective]]:
        """Yield name and module of the objectives that ``batch`` is for (None: all)."""
        for name, objective in self.objectives.items():
            assert isinstance(objective, Objective)
            if batch is None or batch.concerns(name):
                yield name, objective

    def on_train_batch_start(self, batch: PretrainingBatch, batch_idx: int) -> None:
        """Seed dropout."""
        self._seed_step()

    def _seed_step(self) -> None:
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
        state = np.random.SeedSequence([self.seed, progress, self.global_rank]).generate_state(1)
        torch.default_generator.manual_seed(int(state[0]))  # 0.2 ms less than `torch.manual_seed`
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(int(state[0]))

    def training_step(self, batch: PretrainingBatch, batch_idx: int) -> Tensor:
        """Return the weighted sum of the losses this batch is for."""
        losses = self._losses(batch)
        loss = torch.stack([self._weight(name) * value for name, value in losses.items()]).sum()
        self.unchecked = batch, batch_idx
        self.losses = {"loss": loss.detach(), **{name: value.detach() for name, value in losses.items()}}
        self.log("loss", loss.detach(), prog_bar=True, logger=False, batch_size=len(batch))
        return loss

    def _weight(self, name: str) -> float:
        """Return the factor of a loss in this step."""
        begin = self.begins.get(name, 0.0)
        has_begun = not begin or self.global_step >= round(begin * self.trainer.estimated_stepping_batches)
        return self.weights[name] if has_begun else 0.0

    def _losses(self, batch: PretrainingBatch) -> dict[str, Tensor]:
        encoding = self.encoder(batch.inputs)
        return {name: o(encoding, batch, self.encoder) for name, o in self.named_objectives(batch)}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients as Lightning does, unless they or the losses are not finite.

        The norm that clips says whether all gradients are finite. A batch costs one wait for the device, which a
        processor does not notice; where nothing is clipped, or batches are accumulated, the norm comes on top.

        Raises:
            NonFiniteError: before the optimiser steps.
        """
        norm = self._check(optimizer)
        if norm is None or self._is_sharded or gradient_clip_algorithm == GradClipAlgorithmType.VALUE:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            torch.nn.utils.clip_grads_with_norm_(_optimised(optimizer), gradient_clip_val, norm)

    def on_train_batch_end(self, outputs: object, batch: PretrainingBatch, batch_idx: int) -> None:
        """Check a batch that was only accumulated, while it is known which one it was."""
        if self.unchecked is not None:
            self._check(self.trainer.optimizers[0])

    def _check(self, optimizer: Optimizer) -> Tensor | None:
        """Return the norm of the gradients, finite as the losses are; None where they are a gradient scaler's to check.

        Raises:
            NonFiniteError: if they are not, with the batch kept below the run's directory.
        """
        has_scaler = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        norm = None if has_scaler else gradient_norm(_optimised(optimizer))
        loss = self.losses["loss"]
        if not torch.stack([loss, *([] if norm is None else [norm.to(loss)])]).isfinite().all():
            raise self._fault(norm).error(Path(self.trainer.default_root_dir) / FAULTS_FOLDER)
        self.unchecked = None
        return norm

    def _fault(self, norm: Tensor | None) -> Fault:
        assert self.unchecked is not None
        batch, batch_idx = self.unchecked
        losses = {name: value.item() for name, value in self.losses.items()}
        tells_apart = math.isfinite(losses["loss"]) and not self._is_sharded
        return Fault(
            step=self.global_step + 1,
            epoch=self.current_epoch,
            batch_idx=batch_idx,
            batch=batch,
            losses=losses,
            objectives=self._faulty_objectives(batch) if tells_apart else None,
            parameter=None if norm is None else first_faulty_parameter(self),
            gradient_norm=None if norm is None else norm.item(),
            rank=self.global_rank,
            world_size=self.trainer.world_size,
        )

    def _faulty_objectives(self, batch: PretrainingBatch) -> list[str]:
        self._seed_step()  # for the same dropout as before
        with self.trainer.precision_plugin.train_step_context():
            losses = {name: self._weight(name) * loss for name, loss in self._losses(batch).items()}
        return faulty_objectives(losses, [p for p in self.parameters() if p.requires_grad])

    @property
    def _is_sharded(self) -> bool:
        return isinstance(self.trainer.strategy, FSDPStrategy)

    def validation_step(self, batch: PretrainingBatch, batch_idx: int) -> None:
        """Take a held-out batch into every objective's account."""
        encoding = self.encoder(batch.inputs)
        for _, objective in self.named_objectives(batch):
            objective.update(encoding, batch, self.encoder)

    def on_validation_epoch_end(self) -> None:
        """Log what the held-out pairs gave."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for name, objective in self.named_objectives():
            values = objective.compute()
            total = total + self.shares[name] * values[""]
            if not values[""].isfinite() and self.trainer.is_global_zero:
                log.warning("val/%s=%s: a held-out loss is not finite, or nothing was asked", name, values[""].item())
            for part, value in values.items():
                key = f"val/{name}_{part}" if part else f"val/{name}"
                self.log(key, value.float(), prog_bar=part == "accuracy", rank_zero_only=True)
        self.log("val/loss", total.float(), rank_zero_only=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimiser and its schedule, which ticks once an optimiser step."""
        optimizer = self.optimizer(parameter_groups(self, self.learning_rates))
        scheduler = LRSchedulerConfigType(scheduler=LambdaLR(optimizer, self._schedule()), interval="step")
        return OptimizerLRSchedulerConfig(optimizer=optimizer, lr_scheduler=scheduler)

    def _schedule(self) -> Callable[[int], float]:
        """Return the factor of all learning rates by step of the optimiser."""
        total = int(self.trainer.estimated_stepping_batches)
        warmup = warmup_steps(self.warmup, total)
        if self.milestones is None:
            return partial(linear_schedule, warmup=warmup, total=total)
        self.trainer.fit_loop.setup_data()  # where only steps are counted nobody has asked how long an epoch is
        steps_an_epoch = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
        falls = self.milestones.steps(steps_an_epoch)
        return partial(stepped_schedule, warmup=warmup, falls=falls, factor=self.milestones.factor)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the record."""
        checkpoint[RECORD] = self.record


def _optimised(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
