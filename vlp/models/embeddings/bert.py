"""BERT's embedding, for the text-only control: the image is ignored.

Devlin et al., NAACL 2019, arXiv:1810.04805.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from vlp.data.sample import Batch
from vlp.models.embeddings.base import Embedded, Embeddings, TextEmbeddings


class BertEmbeddings(Embeddings):
    """Word embeddings alone.

    Args:
        vocab_size: rows of the word table.
        feature_width: taken and ignored, so that the control is built and run wherever the other models are.
        width: D.
        positions: the longest caption in word pieces.
        dropout: after the LayerNorm.
    """

    reads: ClassVar[str] = "text"

    def __init__(
        self, vocab_size: int, feature_width: int | None, width: int, positions: int, dropout: float = 0.1
    ) -> None:
        del feature_width
        super().__init__(TextEmbeddings(vocab_size, width, positions, dropout=dropout), feature_width=None)

    def forward(self, batch: Batch) -> Embedded:
        """Return the text stream."""
        return Embedded(self.text(batch.input_ids, batch.token_types), batch.text_mask)

    def vision_mask(self, batch: Batch) -> Tensor | None:
        """Return None: there is no visual token."""
        return None
