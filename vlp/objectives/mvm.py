"""Masked visual modelling (Huang et al., CVPR 2021, section 3.3): name the dictionary entry of the hidden cells."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vlp.data.masking import PivotMasking
from vlp.data.pairs import PretrainingBatch
from vlp.metrics.totals import Totals
from vlp.models.embeddings.dictionary import VisualDictionary
from vlp.models.encoder import Encoding, VLEncoder
from vlp.objectives.objective import Objective, nothing_asked

# Axes: B pairs, V cells, N hidden cells of a batch, K entries of the dictionary, D width.


class MaskedVisualModelling(Objective):
    """Cross-entropy over the entries of the visual dictionary, mean over the hidden cells.

    Cells of one entry are hidden together, so that no neighbour tells. The logit of an entry is its cosine to the
    state, divided by a temperature; the paper and its code have none, which keeps the loss above
    ln(1 + (K - 1) / e^2).

    Held out it gives the loss, its trivial baseline (the entropy of the hidden entries) and the accuracy.

    Args:
        encoder: whose dictionary is asked about.
        corruption: what is hidden.
        num_classes: of the data's detector; not asked about.
        temperature: of the cosines.

    Raises:
        ValueError: if the encoder has no visual dictionary.
    """

    corruption: PivotMasking

    def __init__(
        self, encoder: VLEncoder, corruption: PivotMasking, num_classes: int | None = None, temperature: float = 1.0
    ) -> None:
        super().__init__()
        size = len(dictionary_of(encoder))
        self.corruption = corruption
        self.temperature = temperature
        self.held_out = Totals({"loss": (), "right": (), "entry_counts": (size,)})

    def forward(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> Tensor:
        """Return the mean cross-entropy over the hidden cells in nats."""
        logits_NK, entries_N = self.logits(encoding, batch, encoder)
        if not len(entries_N):
            return nothing_asked(encoding)
        return nn.functional.cross_entropy(logits_NK, entries_N)

    def logits(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> tuple[Tensor, Tensor]:
        """Return logits (N, K) and entries (N,) of the hidden cells that are asked for."""
        entries_KD = dictionary_of(encoder).entries
        assert encoding.vision is not None
        assert encoding.targets is not None
        if encoding.hidden is None:
            return encoding.vision.new_zeros(0, len(entries_KD)), encoding.targets.new_zeros(0)
        is_asked_BV = encoding.hidden & (batch.is_matched | self.corruption.on_mismatched)[:, None]
        states_ND = nn.functional.normalize(encoding.vision[is_asked_BV].float(), dim=-1)
        cosines_NK = states_ND @ nn.functional.normalize(entries_KD.float(), dim=-1).T
        return cosines_NK / self.temperature, encoding.targets[is_asked_BV]

    def update(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> None:
        """Take a held-out batch into the account."""
        logits_NK, entries_N = self.logits(encoding, batch, encoder)
        self.held_out.update(
            {
                "loss": nn.functional.cross_entropy(logits_NK.double(), entries_N, reduction="sum"),
                "right": (logits_NK.argmax(-1) == entries_N).sum(),
                "entry_counts": torch.bincount(entries_N, minlength=logits_NK.shape[1]),
            }
        )

    def compute(self) -> dict[str, Tensor]:
        """Return loss and baseline in nats, and accuracy in [0, 1]."""
        totals = self.held_out.collect()
        count = totals["entry_counts"].sum()
        share = totals["entry_counts"] / count
        baseline = -torch.xlogy(share, share).sum()
        return {"": totals["loss"] / count, "baseline": baseline, "accuracy": totals["right"] / count}


def dictionary_of(encoder: VLEncoder) -> VisualDictionary:
    """Return the visual dictionary of ``encoder``.

    Raises:
        ValueError: if it has none.
    """
    dictionary = getattr(encoder.embeddings, "dictionary", None)
    if not isinstance(dictionary, VisualDictionary):
        raise ValueError(f"mvm asks for entries of a visual dictionary; model {encoder.name} has none")
    return dictionary
