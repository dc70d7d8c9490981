"""Masked language modelling (Devlin et al. 2019, section 3.1): name the hidden word pieces."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vlp.data.masking import IGNORE, TextMasking
from vlp.data.pairs import PretrainingBatch
from vlp.metrics.totals import Totals
from vlp.models.encoder import Encoding, VLEncoder
from vlp.models.heads import MLMHead
from vlp.objectives.objective import Objective, nothing_asked

# Axes: B pairs, T text tokens, N masked positions of a batch, W vocabulary.


class MaskedLanguageModelling(Objective):
    """Cross-entropy at the masked positions, mean over them; logits exist nowhere else.

    Held out it gives the loss, its trivial baseline (the entropy of the masked words: what a model pays that knows how
    often each word occurs and nothing else) and the accuracy.

    Args:
        encoder: whose width, vocabulary and word embeddings the head shares.
        corruption: what is masked.
        num_classes: of the data's detector; not asked about.
        transform: whether the head has BERT's transform before the word embeddings.
    """

    def __init__(
        self, encoder: VLEncoder, corruption: TextMasking, num_classes: int | None = None, transform: bool = True
    ) -> None:
        super().__init__()
        self.corruption = corruption
        self.head = MLMHead(encoder.width, encoder.vocab_size, transform)
        self.held_out = Totals({"loss": (), "right": (), "word_counts": (encoder.vocab_size,)})
        self.vocab_size = encoder.vocab_size

    def logits(self, encoding: Encoding, text_labels: Tensor, encoder: VLEncoder) -> tuple[Tensor, Tensor]:
        """Return logits (N, W) and labels (N,) of the masked positions."""
        is_asked = text_labels != IGNORE
        return self.head(encoding.text[is_asked], encoder.word_embeddings.weight), text_labels[is_asked]

    def forward(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> Tensor:
        """Return the mean cross-entropy over the masked positions in nats."""
        logits_NW, labels_N = self.logits(encoding, batch.text_labels, encoder)
        if not len(labels_N):
            return nothing_asked(encoding)
        return nn.functional.cross_entropy(logits_NW.float(), labels_N)

    def update(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> None:
        """Take a held-out batch into the account."""
        logits_NW, labels_N = self.logits(encoding, batch.text_labels, encoder)
        self.held_out.update(
            {
                "loss": nn.functional.cross_entropy(logits_NW.double(), labels_N, reduction="sum"),
                "right": (logits_NW.argmax(-1) == labels_N).sum(),
                "word_counts": torch.bincount(labels_N, minlength=self.vocab_size),
            }
        )

    def compute(self) -> dict[str, Tensor]:
        """Return loss and baseline in nats, and accuracy in [0, 1]."""
        totals = self.held_out.collect()
        count = totals["word_counts"].sum()
        share = totals["word_counts"] / count
        baseline = -torch.xlogy(share, share).sum()
        return {"": totals["loss"] / count, "baseline": baseline, "accuracy": totals["right"] / count}
