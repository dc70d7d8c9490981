"""Tokens, the first of which stand for words and the rest for regions, and models of BERT's size that read them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor

from vlp.data.sample import Batch
from vlp.models import VLEncoder, build, load_weights

# Axes: B batch, S tokens, G groups of tokens.

BATCH_SIZE = 16
TEXT_SHARE = 0.36
"""20 of 56 tokens are words, as with captions of 18 pieces and 36 regions."""


@dataclass(frozen=True)
class Tokens:
    """Inputs of one pass: ids (B, S), which tokens are visual, and which count ([CLS] and [SEP] do not)."""

    ids: Tensor
    is_vision: Tensor
    content: Tensor

    @classmethod
    def draw(cls, length: int, batch_size: int = BATCH_SIZE, vocab_size: int = 30522) -> Tokens:
        """Return ``batch_size`` random texts of ``length`` tokens without padding."""
        ids = torch.randint(
            1000 % vocab_size, vocab_size, (batch_size, length), generator=torch.Generator().manual_seed(0)
        )
        num_text = max(3, round(TEXT_SHARE * length))
        is_vision = torch.arange(length) >= num_text
        content = (torch.arange(length) != 0) & (torch.arange(length) != num_text - 1)
        return cls(ids, is_vision.expand(batch_size, -1), content.expand(batch_size, -1))

    def to(self, device: str) -> Tokens:
        """Return the same on ``device``."""
        return Tokens(self.ids.to(device), self.is_vision.to(device), self.content.to(device))

    @property
    def batch(self) -> Batch:
        """The same as a `Batch`."""
        return Batch(self.ids, torch.ones_like(self.ids, dtype=torch.bool), torch.zeros_like(self.ids))

    @property
    def modalities(self) -> Tensor:
        """Return (B, 2, S) bool, the words and the regions that count."""
        return torch.stack([self.content & ~self.is_vision, self.content & self.is_vision], 1)

    @property
    def spans(self) -> Tensor:
        """Return (B, 2, S) bool, a phrase of three words and a region."""
        spans = torch.zeros_like(self.modalities)
        spans[:, 0, 1:4] = True
        spans[:, 1, -1] = True
        return spans


def their_bert(attention: str, **sizes: Any) -> transformers.BertModel:
    """Return transformers' BERT (base, unless ``sizes`` say otherwise) with random weights, in ``eval()``."""
    torch.manual_seed(0)
    config = transformers.BertConfig(**sizes, attn_implementation=attention)
    return transformers.BertModel(config).eval()


def our_bert(theirs: transformers.BertModel, **sizes: Any) -> VLEncoder:
    """Return our BERT with the weights of ``theirs``; ``sizes`` are keys of ``conf/size``."""
    ours = build("bert", size="base", vocab_size=theirs.config.vocab_size, **sizes)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        load_weights(ours, folder)
    return ours.requires_grad_(False)
