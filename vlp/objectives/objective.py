"""What a pre-training objective is: a head, what it hides from the model, and a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from vlp.data.masking import Corruption
from vlp.data.pairs import PretrainingBatch
from vlp.models.encoder import Encoding, VLEncoder


class Objective(nn.Module, ABC):
    """A pre-training loss with its head.

    ``corruption`` is applied to each pair before it is batched. Heads that share weights with the encoder read them
    from it at each call, so that no weight is owned twice. A config builds an objective from ``encoder``, from
    ``num_classes`` (of the data's detector, background included, or None) and from its own keys.
    """

    corruption: Corruption

    @abstractmethod
    def forward(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> Tensor:
        """Return the loss of one batch in nats: a scalar, 0 where the batch asks nothing."""

    @abstractmethod
    def update(self, encoding: Encoding, batch: PretrainingBatch, encoder: VLEncoder) -> None:
        """Take a held-out batch into the account."""

    @abstractmethod
    def compute(self) -> dict[str, Tensor]:
        """Return what the held-out batches gave, by name (empty: the loss itself), and start anew."""


def nothing_asked(encoding: Encoding) -> Tensor:
    """Return a loss of 0 that the backward pass accepts."""
    return encoding.text.sum() * 0
