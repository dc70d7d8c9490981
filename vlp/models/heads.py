"""Prediction heads. Each is given only the rows it is asked about, (N, D): no other logits are ever computed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlp.models.blocks import initial_std, initialise

# Axes: N rows asked about, D width, W vocabulary, C classes.

NORM_EPS = 1e-12


class HeadTransform(nn.Module):
    """Linear, GELU, LayerNorm: BERT's prediction transform; ``has_norm=False`` leaves the LayerNorm out."""

    def __init__(self, width: int, has_norm: bool = True) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS) if has_norm else nn.Identity()

    def forward(self, states_ND: Tensor) -> Tensor:
        """Return (N, D)."""
        return self.norm(functional.gelu(self.dense(states_ND)))


class MLMHead(nn.Module):
    """Masked-word logits: transform, then the word embeddings as decoder, and a bias (Devlin et al. 2019).

    Without the transform, a linear layer tied to the word embeddings (Xue et al. 2021).

    The decoder is the encoder's word table, handed in at each call, so that the weight has one owner.

    Args:
        width: D.
        vocab_size: W.
        has_transform: whether there is one.
    """

    def __init__(self, width: int, vocab_size: int, has_transform: bool = True) -> None:
        super().__init__()
        self.transform = HeadTransform(width) if has_transform else nn.Identity()
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        initialise(self, initial_std(width))

    def forward(self, states_ND: Tensor, word_embeddings_WD: Tensor) -> Tensor:
        """Return logits (N, W)."""
        return functional.linear(self.transform(states_ND), word_embeddings_WD, self.bias)


class PooledClassifier(nn.Module):
    """Linear classifier of the pooled state, (B, D) to (B, C)."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, num_classes)
        initialise(self, initial_std(width))

    def forward(self, pooled_BD: Tensor) -> Tensor:
        """Return logits (B, C)."""
        return self.dense(pooled_BD)


class RegionClassificationHead(nn.Module):
    """Region-class logits: transform, then a linear layer (UNITER's ``region_classifier``).

    Args:
        width: D.
        num_classes: C, background included where the detector has one.
        has_norm: whether its transform has a LayerNorm.
    """

    def __init__(self, width: int, num_classes: int, has_norm: bool = True) -> None:
        super().__init__()
        self.transform = HeadTransform(width, has_norm)
        self.decoder = nn.Linear(width, num_classes)
        initialise(self, initial_std(width))

    def forward(self, states_ND: Tensor) -> Tensor:
        """Return logits (N, C)."""
        return self.decoder(self.transform(states_ND))
