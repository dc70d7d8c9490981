"""Curves of a training: its losses, and what the model does with its image."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytorch_lightning as pl
import torch
from torch import Tensor

from vlp.data.loading import PretrainingData
from vlp.data.masking import IGNORE
from vlp.data.pairs import PretrainingBatch
from vlp.data.statistics import mean_feature, with_mean_feature
from vlp.metrics import normalized_mutual_information
from vlp.metrics.estimates import SampleMean
from vlp.metrics.totals import Totals
from vlp.models.encoder import VLEncoder
from vlp.objectives.mlm import MaskedLanguageModelling
from vlp.observe.reductions import MeetingStates, meeting_layers
from vlp.pretraining import PretrainingModule


class LossCurves(pl.Callback):
    """Logs the losses of every nth step, ``train/loss`` and one column an objective, and those of the last step.

    ``trainer.log_every_n_steps`` is n. A step that accumulates several batches logs its last one; `LightningModule.log`
    would repeat the losses of objectives that a step was not for. Lightning calls a checkpoint callback after all
    others, so that the row of a step is logged before its checkpoint is written.
    """

    def __init__(self) -> None:
        self.logged_step = 0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Count the step that training goes on from as logged."""
        self.logged_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Log the losses of every nth step."""
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log(trainer, module)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Log the losses of the last step, which a logging step more often than not misses."""
        self._log(trainer, module)

    def _log(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, PretrainingModule)
        if trainer.global_step == self.logged_step:
            return
        self.logged_step = trainer.global_step
        values = {f"train/{name}": value.item() for name, value in module.losses.items()}
        for logger in trainer.loggers:
            logger.log_metrics({**values, "epoch": trainer.current_epoch}, step=trainer.global_step)


class HeldOutCurves(pl.Callback):
    """Logs two curves at each validation.

    ``val/mlm_mean_image``: the masked-word loss in nats when every region has the mean feature, to be read beside
    ``val/mlm``: same words, same pairs. ``val/nmi_layer_K``: how far text and vision lie apart at the output of layer K
    (0: embeddings) of a single-stream model, or of the cross layers of a dual-stream one (VALUE section 4.1), on pairs
    as training sees them, masked and half of them mismatched; the probe ``nmi`` is put to whole, matched ones. A pair
    whose states are not finite has no place in the mean. A model that reads pixels has the second curve alone, a
    text-only one neither.

    Args:
        num_samples: pairs whose states are clustered, to the end of a batch; the first ones of the first objective, if
            each has a pass of its own.
    """

    def __init__(self, num_samples: int = 256) -> None:
        self.num_samples = num_samples
        self.mean_F: Tensor | None = None
        self.words = Totals({"loss": (), "count": ()})
        self.nmi: SampleMean | None = None

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Start anew."""
        assert isinstance(module, PretrainingModule)
        self.words.to(module.device)
        reads = module.encoder.reads
        if self.mean_F is None and reads == "regions":
            self.mean_F = mean_feature(trainer.datamodule.val_pairs.dataset)  # type: ignore[attr-defined]
        if self.nmi is None and reads != "text":
            self.nmi = SampleMean((len(meeting_layers(module.encoder.sites)),)).to(module.device)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: object,
        batch: PretrainingBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look at a batch."""
        assert isinstance(module, PretrainingModule)
        if self.nmi is None:
            return
        self._see_words(module, batch)
        data: PretrainingData = trainer.datamodule  # type: ignore[attr-defined]
        first_place = (batch_idx * trainer.world_size + trainer.global_rank) * data.batch_size
        if first_place >= min(self.num_samples // data.val_pairs.pairs_a_place, len(data.val_pairs)):
            return
        tokenizer = data.val_pairs.tokenizer
        is_end = (batch.inputs.input_ids == tokenizer.cls_id) | (batch.inputs.input_ids == tokenizer.sep_id)
        self._see_fusion(module.encoder, batch, batch.inputs.text_mask & ~is_end)

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Log what was seen."""
        if self.nmi is None:
            return
        if self.mean_F is not None and (words := self.words.collect())["count"]:
            module.log("val/mlm_mean_image", (words["loss"] / words["count"]).float())
        for layer, value in enumerate(self.nmi.estimate().value):
            module.log(f"val/nmi_layer_{layer}", value.float())
        self.nmi.reset()

    def _see_words(self, module: PretrainingModule, batch: PretrainingBatch) -> None:
        objective = next((o for _, o in module.named_objectives(batch) if isinstance(o, MaskedLanguageModelling)), None)
        if objective is None or self.mean_F is None:
            return
        assert batch.inputs.features is not None
        assert batch.inputs.region_mask is not None
        blind = with_mean_feature(batch.inputs.features, batch.inputs.region_mask, self.mean_F)
        encoding = module.encoder(replace(batch.inputs, features=blind))
        count = (batch.text_labels != IGNORE).sum()
        self.words.update({"loss": objective(encoding, batch, module.encoder) * count, "count": count})

    def _see_fusion(self, encoder: VLEncoder, batch: PretrainingBatch, content_BT: Tensor) -> None:
        assert self.nmi is not None
        layers = meeting_layers(encoder.sites)
        words_only = replace(batch.inputs, text_mask=content_BT)
        streams = [encoder.stream_masks(words_only, site.query) for site in layers[0]]
        mask, is_vision = (torch.cat(parts, dim=1) for parts in zip(*streams, strict=True))
        measure = partial(_agreement, is_vision=is_vision, mask=mask)
        observer = MeetingStates(layers, measure)
        encoder(batch.inputs, observers=[observer])
        self.nmi.update(torch.stack(observer.take(), dim=1))


def _agreement(hidden_BSD: Tensor, is_vision: Tensor, mask: Tensor) -> Tensor:
    """Return (B,) the NMI, NaN where a state is not finite."""
    is_finite = (hidden_BSD.isfinite().all(-1) | ~mask).all(-1)
    no_spread = hidden_BSD.where(is_finite[:, None, None], 0)
    return normalized_mutual_information(no_spread, is_vision, mask)
