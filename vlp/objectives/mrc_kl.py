"""Masked region classification with soft labels: name what the detector saw in the hidden regions."""

from __future__ import annotations

import torch
from torch import Tensor

from vlp.data.masking import RegionMasking
from vlp.data.pairs import PretrainingBatch
from vlp.metrics.totals import Totals
from vlp.models.encoder import Encoding, VLEncoder
from vlp.models.heads import RegionClassificationHead
from vlp.objectives.objective import Objective, nothing_asked

# Axes: B pairs, V regions, C classes (background first), N masked regions of a batch.


class MaskedRegionClassificationKL(Objective):
    """KL(detector || model) over the detector's classes at the masked regions (Chen et al. 2020, section 3.2).

    UNITER's code takes the mean over all elements, which divides by the number of classes too; ``per_class_mean`` says
    whether the training loss does. Held out it is always the sum over classes, mean over regions, beside the baseline
    of answering every region with the mean distribution.

    Args:
        encoder: whose width the head has.
        corruption: what is masked.
        num_classes: C of the data's detector, background included.
        per_class_mean: divide the training loss by C.
        head_norm: whether the head has a LayerNorm; VL-BERT's has none.

    Raises:
        ValueError: if the data have no class distributions or the encoder reads no regions.
    """

    def __init__(
        self,
        encoder: VLEncoder,
        corruption: RegionMasking,
        num_classes: int | None = None,
        per_class_mean: bool = True,
        head_norm: bool = True,
    ) -> None:
        super().__init__()
        if num_classes is None or encoder.reads != "regions":
            raise ValueError(f"mrc_kl asks for classes of regions; the data or model {encoder.name} have none")
        self.corruption = corruption
        self.head = RegionClassificationHead(encoder.vision_width, num_classes, head_norm)
        self.scale = 1 / num_classes if per_class_mean else 1.0
        self.held_out = Totals({"loss": (), "regions": (), "probs": (num_classes,), "negentropy": ()})

    def forward(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> Tensor:
        """Return the mean divergence over the masked regions in nats."""
        log_probs_NC, target_NC = self._asked(encoding, batch)
        if not len(target_NC):
            return nothing_asked(encoding)
        return self.scale * _divergence(target_NC, log_probs_NC).mean()

    def update(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> None:
        """Take a held-out batch into the account."""
        log_probs_NC, target_NC = (tensor.double() for tensor in self._asked(encoding, batch))
        self.held_out.update(
            {
                "loss": _divergence(target_NC, log_probs_NC).sum(),
                "regions": len(target_NC),
                "probs": target_NC.sum(0),
                "negentropy": torch.xlogy(target_NC, target_NC).sum(),
            }
        )

    def compute(self) -> dict[str, Tensor]:
        """Return divergence and baseline in nats a region."""
        totals = self.held_out.collect()
        mean_C = totals["probs"] / totals["regions"]
        baseline = totals["negentropy"] / totals["regions"] - torch.xlogy(mean_C, mean_C).sum()
        return {"": totals["loss"] / totals["regions"], "baseline": baseline}

    def _asked(self, encoding: Encoding, batch: PretrainingBatch) -> tuple[Tensor, Tensor]:
        if batch.class_probs is None or batch.asked_regions is None or encoding.vision is None:
            raise ValueError("mrc_kl needs class distributions of the regions, which these data do not have")
        logits_NC = self.head(encoding.vision[batch.asked_regions])
        return logits_NC.float().log_softmax(-1), batch.class_probs[batch.asked_regions]


def _divergence(target_NC: Tensor, log_probs_NC: Tensor) -> Tensor:
    return (torch.xlogy(target_NC, target_NC) - target_NC * log_probs_NC).sum(-1)
