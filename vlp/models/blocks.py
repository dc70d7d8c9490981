"""The two sub-layers every model is made of: attention and feed-forward, each with its residual and LayerNorm.

Attention has two paths. A site nobody watches uses fused attention; a watched one computes the softmax once, hands the
weights to its observers and uses the same weights for its output. No map is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlp.models.observation import Site, Watch

# Axes: B batch, H heads, Q query tokens, K key tokens, S tokens of a stream, D width, E width of one head.

BERT_STD = 0.02
"""Standard deviation of BERT's initial weights, meant for `BERT_WIDTH` (Devlin et al. 2019, released code)."""
BERT_WIDTH = 768


@dataclass(frozen=True)
class BlockShape:
    """What the sub-layers of one stream share.

    Args:
        width: D of the stream.
        heads: attention heads; must divide ``width``.
        feed_forward: hidden width of the feed-forward sub-layer.
        dropout: on the output of every sub-layer.
        attention_dropout: on attention weights.
        eps: LayerNorm's epsilon; BERT's is 1e-12.
        pre_norm: LayerNorm before the sub-layer (ViT, ViLT) instead of after the residual (BERT).

    Raises:
        ValueError: if ``heads`` does not divide ``width``.
    """

    width: int
    heads: int
    feed_forward: int
    dropout: float = 0.1
    attention_dropout: float = 0.1
    eps: float = 1e-12
    pre_norm: bool = False

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width={self.width} is not a multiple of heads={self.heads}")


def initial_std(width: int) -> float:
    """Return the standard deviation of initial weights at ``width``: 0.02 at 768, larger where a model is narrower."""
    return BERT_STD * math.sqrt(BERT_WIDTH / width)


def initialise(module: nn.Module, std: float) -> None:
    """Draw every weight in ``module`` from N(0, std) with the global generator; biases 0, LayerNorms 1 and 0."""
    for part in module.modules():
        if isinstance(part, nn.LayerNorm):
            part.reset_parameters()
        elif isinstance(part, nn.Linear | nn.Embedding | nn.Conv2d):
            nn.init.normal_(part.weight, std=std)
            if getattr(part, "bias", None) is not None:
                nn.init.zeros_(part.bias)


def attention_bias(mask_BK: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Return what is added to attention scores, (B, 1, 1, K): 0 at real keys, the lowest finite number at padding.

    None when nothing is padded, so that attention takes its fastest path. Finite, so that a row without any real key
    gives no NaN; under autocast it is the lowest number of the dtype that the scores will have.
    """
    if bool(mask_BK.all()):
        return None
    device = mask_BK.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    bias_BK = torch.zeros(mask_BK.shape, dtype=dtype, device=mask_BK.device)
    return bias_BK.masked_fill_(~mask_BK, torch.finfo(dtype).min)[:, None, None, :]


class Attention(nn.Module):
    """Multi-head attention sub-layer: projections, residual, LayerNorm.

    Args:
        shape: width, heads and rates of the querying stream.
        key_width: width of the stream it reads, where that differs.
    """

    def __init__(self, shape: BlockShape, key_width: int | None = None) -> None:
        super().__init__()
        key_width = key_width or shape.width
        self.heads = shape.heads
        self.pre_norm = shape.pre_norm
        self.attention_dropout = shape.attention_dropout
        self.query = nn.Linear(shape.width, shape.width)
        self.key = nn.Linear(key_width, shape.width)
        self.value = nn.Linear(key_width, shape.width)
        self.output = nn.Linear(shape.width, shape.width)
        self.norm = nn.LayerNorm(shape.width, eps=shape.eps)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(
        self, states: Tensor, context: Tensor | None, bias: Tensor | None, site: Site, watch: Watch | None
    ) -> Tensor:
        """Return the stream's next states (B, Q, D).

        Args:
            states: (B, Q, D), the stream that asks.
            context: (B, K, D'), the stream that is read; None for ``states`` itself.
            bias: (B, 1, 1, K) from `attention_bias`, or None.
            site: where this is, for observers.
            watch: who looks on, or None.
        """
        source = self.norm(states) if self.pre_norm else states
        context = source if context is None else context
        if watch is not None and watch.wants(site):
            mixed = self._observed(source, context, bias, site, watch)
        else:
            mixed = self._fused(source, context, bias)
        summed = states + self.dropout(self.output(mixed))
        return summed if self.pre_norm else self.norm(summed)

    def _fused(self, source: Tensor, context: Tensor, bias: Tensor | None) -> Tensor:
        query_BHQE = self._split(self.query(source))
        key_BHKE = self._split(self.key(context))
        value_BHKE = self._split(self.value(context))
        rate = self.attention_dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query_BHQE, key_BHKE, value_BHKE, bias, dropout_p=rate)
        return mixed.transpose(1, 2).flatten(2)

    def _observed(self, source: Tensor, context: Tensor, bias: Tensor | None, site: Site, watch: Watch) -> Tensor:
        weights_NQK = self._weights(source, context, bias)
        weights_BHQK = weights_NQK.unflatten(0, (-1, self.heads))
        watch.attention(site, weights_BHQK)
        weights_NQK = functional.dropout(weights_NQK, self.attention_dropout, self.training)
        mixed_NQE = torch.bmm(weights_NQK, self._stack(self.value(context)))
        return mixed_NQE.unflatten(0, (-1, self.heads)).transpose(1, 2).flatten(2)

    def _weights(self, source: Tensor, context: Tensor, bias: Tensor | None) -> Tensor:
        """Return attention weights (B * H, Q, K) before dropout, in the scores' memory where no gradient flows."""
        query_NQE = self._stack(self.query(source))
        key_NKE = self._stack(self.key(context))
        scale = query_NQE.shape[-1] ** -0.5
        if bias is None:
            start = query_NQE.new_zeros(())
        else:
            start = bias[:, 0].expand(-1, self.heads, -1).flatten(0, 1)[:, None]
        beta = 0 if bias is None else 1
        scores_NQK = torch.baddbmm(start, query_NQE, key_NKE.transpose(1, 2), beta=beta, alpha=scale)
        if scores_NQK.requires_grad:
            return scores_NQK.softmax(-1)
        return torch.softmax(scores_NQK, -1, out=scores_NQK)

    def _split(self, projected: Tensor) -> Tensor:
        """(B, S, D) -> (B, H, S, E), a view."""
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _stack(self, projected: Tensor) -> Tensor:
        """(B, S, D) -> (B * H, S, E), a copy that `torch.bmm` takes as it is; the projection is freed on return."""
        return self._split(projected).flatten(0, 1)


class FeedForward(nn.Module):
    """Feed-forward sub-layer with exact (erf) GELU, residual and LayerNorm."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.pre_norm = shape.pre_norm
        self.expand = nn.Linear(shape.width, shape.feed_forward)
        self.contract = nn.Linear(shape.feed_forward, shape.width)
        self.norm = nn.LayerNorm(shape.width, eps=shape.eps)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, states: Tensor) -> Tensor:
        """Return the stream's next states (B, S, D)."""
        source = self.norm(states) if self.pre_norm else states
        summed = states + self.dropout(self.contract(functional.gelu(self.expand(source))))
        return summed if self.pre_norm else self.norm(summed)
