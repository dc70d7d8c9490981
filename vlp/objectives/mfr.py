"""Masked feature regression (Xue et al., NeurIPS 2021, eq. 9): say what the parser saw in the hidden cells."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vlp.data.masking import CellMasking
from vlp.data.pairs import PretrainingBatch
from vlp.metrics.totals import Totals
from vlp.models.blocks import initial_std, initialise
from vlp.models.embeddings.swin_vlp import SwinVlpEmbeddings
from vlp.models.encoder import Encoding, VLEncoder
from vlp.models.parsers import SwinParser
from vlp.objectives.objective import Objective, nothing_asked

# Axes: B pairs, V cells, N hidden cells of a batch, F width of the parser's features.


class MaskedFeatureRegression(Objective):
    """Squared distance between a linear function of the state at a hidden cell and the parser's feature there.

    Summed over channels and over the hidden cells of a pair, mean over the matched pairs. The feature is what the same
    pass found in the whole image; no gradient flows to it, or the parser could make all features alike.

    Held out it gives that sum, in whatever reduction training has, and its trivial baseline: answering every hidden
    cell with the mean of their features.

    Args:
        encoder: whose parser is asked about.
        corruption: which cells are hidden.
        num_classes: of the data's detector; not asked about.
        reduction: ``sum``, or ``mean`` over channels and cells, where the paper's weight of 0.01 is far too little.

    Raises:
        ValueError: if the model hides no cells, or ``reduction`` is neither.
    """

    corruption: CellMasking

    def __init__(
        self,
        encoder: VLEncoder,
        corruption: CellMasking,
        num_classes: int | None = None,
        reduction: Literal["sum", "mean"] = "sum",
    ) -> None:
        super().__init__()
        embeddings = encoder.embeddings
        if not isinstance(embeddings, SwinVlpEmbeddings) or embeddings.masked_cell is None:
            raise ValueError(f"mfr asks for features of hidden cells; model {encoder.name} hides none")
        if corruption.masking == "parsed" and not isinstance(embeddings.parser, SwinParser):
            name = type(embeddings.parser).__name__
            raise ValueError(f"mfr masking=parsed: {name} has no attention map; give masking=random or leave mfr out")
        if reduction not in ("sum", "mean"):
            raise ValueError(f"mfr reduction={reduction!r}: expected 'sum' or 'mean'")
        self.corruption, self.reduction = corruption, reduction
        width = embeddings.parser.width
        self.head = nn.Linear(encoder.vision_width, width)
        initialise(self, initial_std(encoder.vision_width))
        self.held_out = Totals({"loss": (), "pairs": (), "cells": (), "features": (width,), "squares": ()})

    def forward(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> Tensor:
        """Return the mean squared distance of a pair's hidden cells."""
        errors_NF, _, num_pairs = self._asked(encoding, batch)
        if not len(errors_NF):
            return nothing_asked(encoding)
        return errors_NF.square().sum() / (num_pairs if self.reduction == "sum" else errors_NF.numel())

    def update(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> None:
        """Take a held-out batch into the account."""
        errors_NF, targets_NF, num_pairs = self._asked(encoding, batch)
        self.held_out.update(
            {
                "loss": errors_NF.double().square().sum(),
                "pairs": num_pairs,
                "cells": len(targets_NF),
                "features": targets_NF.double().sum(0),
                "squares": targets_NF.double().square().sum(),
            }
        )

    def compute(self) -> dict[str, Tensor]:
        """Return loss and baseline."""
        totals = self.held_out.collect()
        spread = totals["squares"] - totals["features"].square().sum() / totals["cells"]
        per = totals["pairs"] if self.reduction == "sum" else totals["cells"] * len(totals["features"])
        return {"": totals["loss"] / per, "baseline": spread / per}

    def _asked(self, encoding: Encoding, batch: PretrainingBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return errors and targets (N, F) of the cells asked for, and of how many pairs they are."""
        assert encoding.vision is not None
        if encoding.hidden is None or encoding.targets is None:
            nothing = encoding.vision.new_zeros(0, self.head.out_features)
            return nothing, nothing, torch.zeros((), device=nothing.device)
        is_asked_BV = encoding.hidden & (batch.is_matched | self.corruption.on_mismatched)[:, None]
        targets_NF = encoding.targets[is_asked_BV].detach().float()
        errors_NF = self.head(encoding.vision[is_asked_BV]).float() - targets_NF
        return errors_NF, targets_NF, is_asked_BV.any(1).sum()
