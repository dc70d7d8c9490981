"""Image-text matching: does the caption belong to the image? Class 1 is "matched" everywhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vlp.data.masking import PairMismatch
from vlp.data.pairs import PretrainingBatch
from vlp.metrics.totals import Totals
from vlp.models.encoder import Encoding, VLEncoder
from vlp.models.heads import PooledClassifier
from vlp.objectives.objective import Objective

# Axes: B pairs, 2 classes (mismatched, matched).


class ImageTextMatching(Objective):
    """Cross-entropy of two classes on the pooled state (Chen et al. 2020, section 3.2; LXMERT, VisualBERT likewise).

    Held out it gives the loss, the accuracy and the share of the larger class.

    Args:
        encoder: whose width the head has.
        corruption: how mismatched pairs are made.
        num_classes: of the data's detector; not asked about.

    Raises:
        ValueError: if the encoder reads no image or has no pooler.
    """

    def __init__(self, encoder: VLEncoder, corruption: PairMismatch, num_classes: int | None = None) -> None:
        super().__init__()
        if encoder.pooled_width is None or encoder.reads == "text":
            raise ValueError(f"itm asks whether image and text match; model {encoder.name} has no image or no pooler")
        self.corruption = corruption
        self.head = PooledClassifier(encoder.pooled_width, 2)
        self.held_out = Totals({"loss": (), "right": (), "class_counts": (2,)})

    def forward(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> Tensor:
        """Return the mean cross-entropy over pairs in nats."""
        return nn.functional.cross_entropy(self.logits(encoding), batch.is_matched.long())

    def logits(self, encoding: Encoding) -> Tensor:
        """Return logits (B, 2)."""
        return self.head(encoding.pooled).float()

    def update(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> None:
        """Take a held-out batch into the account."""
        logits, labels = self.logits(encoding), batch.is_matched.long()
        self.held_out.update(
            {
                "loss": nn.functional.cross_entropy(logits.double(), labels, reduction="sum"),
                "right": (logits.argmax(-1) == labels).sum(),
                "class_counts": torch.bincount(labels, minlength=2),
            }
        )

    def compute(self) -> dict[str, Tensor]:
        """Return the loss in nats, accuracy and majority share in [0, 1]."""
        totals = self.held_out.collect()
        counts = totals["class_counts"]
        return {
            "": totals["loss"] / counts.sum(),
            "accuracy": totals["right"] / counts.sum(),
            "majority": counts.max() / counts.sum(),
        }
