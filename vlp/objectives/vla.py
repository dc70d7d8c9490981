"""Alignment of words and cells by optimal transport, as in ViLT and UNITER (Xue et al., NeurIPS 2021, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from vlp.data.masking import Corruption
from vlp.data.pairs import PretrainingBatch
from vlp.metrics.totals import Totals
from vlp.metrics.transport import optimal_transport_distance
from vlp.models.encoder import Encoding, VLEncoder
from vlp.objectives.objective import Objective

# Axes: B pairs, T text tokens.


class VisionLanguageAlignment(Objective):
    """Transport distance of the last states of words and of visual tokens: small for matched pairs, large for others.

    (sum over matched pairs - sum over mismatched ones) / number of pairs, in [-2, 2]: it may be negative. [CLS] and
    [SEP] take no part.

    Held out it gives that, and the mean distance of matched and of mismatched pairs.

    Args:
        encoder: whose states are compared.
        corruption: nothing of its own is hidden.
        num_classes: of the data's detector; not asked about.
        beta: step of the proximal iteration.
        iterations: how many.

    Raises:
        ValueError: if the encoder reads no image, or its streams have different widths.
    """

    def __init__(
        self,
        encoder: VLEncoder,
        corruption: Corruption,
        num_classes: int | None = None,
        beta: float = 0.5,
        iterations: int = 50,
    ) -> None:
        super().__init__()
        if encoder.reads == "text" or encoder.vision_width != encoder.width:
            widths = f"states of {encoder.width} and {encoder.vision_width}"
            raise ValueError(f"vla compares words and visual tokens; model {encoder.name} has no image, or {widths}")
        self.corruption = corruption
        self.beta, self.iterations = beta, iterations
        self.held_out = Totals({"matched": (), "mismatched": (), "counts": (2,)})

    def forward(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> Tensor:
        """Return the signed mean distance."""
        return _sign(batch).mul(self.distances(encoding, batch, encoder)).mean()

    def distances(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> Tensor:
        """Return the distance (B,) of each pair's words and visual tokens, in [0, 2]."""
        mask = encoder.embeddings.vision_mask(batch.inputs)
        assert mask is not None
        assert encoding.vision is not None
        visible = encoder.embeddings.without_global(mask)
        words = content(batch.inputs.text_mask)
        return optimal_transport_distance(
            encoding.text, encoding.vision, words, visible, beta=self.beta, iterations=self.iterations
        )

    def update(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> None:
        """Take a held-out batch into the account."""
        distance_B = self.distances(encoding, batch, encoder).double()
        self.held_out.update(
            {
                "matched": distance_B[batch.is_matched].sum(),
                "mismatched": distance_B[~batch.is_matched].sum(),
                "counts": torch.bincount(batch.is_matched.long(), minlength=2),
            }
        )

    def compute(self) -> dict[str, Tensor]:
        """Return the loss and both mean distances."""
        totals = self.held_out.collect()
        mismatched, matched = totals["counts"]
        return {
            "": (totals["matched"] - totals["mismatched"]) / (matched + mismatched),
            "matched": totals["matched"] / matched,
            "mismatched": totals["mismatched"] / mismatched,
        }


def content(text_mask_BT: Tensor) -> Tensor:
    """Return which pieces are words, (B, T) bool: not [CLS], which comes first, nor [SEP], the last before padding."""
    is_last = text_mask_BT & ~torch.nn.functional.pad(text_mask_BT[:, 1:], (0, 1))
    return (text_mask_BT & ~is_last).index_fill(1, torch.zeros(1, dtype=torch.long, device=text_mask_BT.device), False)


def _sign(batch: PretrainingBatch) -> Tensor:
    return torch.where(batch.is_matched, 1.0, -1.0)
