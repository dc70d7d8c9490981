"""The two sub-layers every model is made of: attention and feed-forward, each with its residual and LayerNorm.

Attention has two paths. A site nobody watches uses fused attention, except in training on CPU, where it is slower; a
watched one computes the softmax once, hands the weights to its observers and uses the same weights for its output. No
map is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlp.models.observation import Site, Watch

# Axes: B batch, H heads, Q query tokens, K key tokens, N = B * H, S tokens of a stream, D width,
# E width of one head.

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
        attention_width: of all heads together; None for ``width``. ViLBERT's text stream, 768 wide, looks at the image
            with 1024.

    Raises:
        ValueError: if ``heads`` does not divide the width of attention.
    """

    width: int
    heads: int
    feed_forward: int
    dropout: float = 0.1
    attention_dropout: float = 0.1
    eps: float = 1e-12
    pre_norm: bool = False
    attention_width: int | None = None

    def __post_init__(self) -> None:
        if self.inner_width % self.heads:
            name = "width" if self.attention_width is None else "attention_width"
            raise ValueError(f"{name}={self.inner_width} is not a multiple of heads={self.heads}")

    @property
    def inner_width(self) -> int:
        """Width of queries, keys and values, all heads together."""
        return self.attention_width or self.width


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
        if isinstance(part, nn.Linear | nn.Conv2d) and part.bias is not None:
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
        inner_width, key_width = shape.inner_width, key_width or shape.width
        self.heads = shape.heads
        self.pre_norm = shape.pre_norm
        self.attention_dropout = shape.attention_dropout
        self.query = nn.Linear(shape.width, inner_width)
        self.key = nn.Linear(key_width, inner_width)
        self.value = nn.Linear(key_width, inner_width)
        self.output = nn.Linear(inner_width, shape.width)
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
        watcher = watch if watch is not None and watch.wants(site) else None
        if watcher is not None or self._trains_on_cpu(source):
            mixed = self._explicit(source, context, bias, site, watcher)
        else:
            mixed = self._fused(source, context, bias)
        summed = states + self.dropout(self.output(mixed))
        return summed if self.pre_norm else self.norm(summed)

    def _trains_on_cpu(self, source: Tensor) -> bool:
        """Whether a training step on CPU runs, where fused attention is slower: 5 % in float32, 30 % in bfloat16."""
        return self.training and source.device.type == "cpu" and torch.is_grad_enabled()

    def _fused(self, source: Tensor, context: Tensor, bias: Tensor | None) -> Tensor:
        query_BHQE = self._split(self.query(source))
        key_BHKE = self._split(self.key(context))
        value_BHKE = self._split(self.value(context))
        rate = self.attention_dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query_BHQE, key_BHKE, value_BHKE, bias, dropout_p=rate)
        return mixed.transpose(1, 2).flatten(2)

    def _explicit(
        self, source: Tensor, context: Tensor, bias: Tensor | None, site: Site, watcher: Watch | None
    ) -> Tensor:
        scores_NQK = self._scores(source, context, bias)
        if watcher is None:
            weights_NQK = scores_NQK.softmax(-1)
        else:
            weights_NQK = _precise_softmax(scores_NQK)
            watcher.attention(site, weights_NQK.unflatten(0, (-1, self.heads)))
        weights_NQK = functional.dropout(weights_NQK, self.attention_dropout, self.training)
        value_NKE = self._stack(self.value(context))
        mixed_NQE = torch.bmm(weights_NQK.to(value_NKE.dtype), value_NKE)
        return mixed_NQE.unflatten(0, (-1, self.heads)).transpose(1, 2).flatten(2)

    def _scores(self, source: Tensor, context: Tensor, bias: Tensor | None) -> Tensor:
        """Return scaled scores (N, Q, K) with the mask added, in one product."""
        query_NQE = self._stack(self.query(source))
        key_NEK = self._stack(self.key(context)).transpose(1, 2)
        scale = query_NQE.shape[-1] ** -0.5
        if bias is None:
            return torch.baddbmm(query_NQE.new_zeros(()), query_NQE, key_NEK, beta=0, alpha=scale)
        bias_N1K = bias[:, 0].expand(-1, self.heads, -1).reshape(len(query_NQE), 1, -1)
        return torch.baddbmm(bias_N1K, query_NQE, key_NEK, alpha=scale)

    def _split(self, projected: Tensor) -> Tensor:
        """(B, S, D) -> (B, H, S, E), a view."""
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _stack(self, projected: Tensor) -> Tensor:
        """(B, S, D) -> (N, S, E), a copy that `torch.bmm` takes as it is; the projection is freed on return."""
        return self._split(projected).flatten(0, 1)


def _precise_softmax(scores: Tensor) -> Tensor:
    """Softmax over keys in at least float32, in the scores' own memory where that can be done."""
    dtype = torch.promote_types(scores.dtype, torch.float32)
    if scores.requires_grad or scores.dtype != dtype:
        return scores.softmax(-1, dtype=dtype)
    return torch.softmax(scores, -1, out=scores)


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
