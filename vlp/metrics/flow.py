"""Inter-Modality Flow (Xue et al., NeurIPS 2021, equations 2 to 4): what crosses between text and vision over layers.

Attention of a layer, averaged over heads, with the residual: ``A = (I + W) / 2``. From layer i to layer j it is
``A_j ... A_i``, row = token at the output of layer j, column = token at the input of layer i (attention rollout of
Abnar and Zuidema 2020). The flow is the part of it that lies between tokens of different modality.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vlp.metrics.estimates import SampleStatistic
from vlp.observe.reductions import advance

# Axes: B samples, L layers, S tokens of both modalities.

_ROW_SUM_TOLERANCE = 1e-3

SUM, MEAN = "sum", "mean"
PAIR_REDUCTIONS = (SUM, MEAN)


def inter_modality_flow(
    attention: Tensor, is_vision: Tensor, mask: Tensor, first: int = 1, last: int | None = None
) -> Tensor:
    """Return the share of attention, followed through layers ``first`` to ``last``, that crosses modalities.

    0 where no modality attends to the other, ``(1 - 2**-l) * 2 m n / (m + n)**2`` over l layers of uniform attention
    among m visual and n text tokens: compare with that, since token counts move the flow more than models do.

    Args:
        attention: (B, L, S, S) attention weights averaged over heads, layers in order, row = query; rows of real tokens
            sum to 1 over real tokens. What stands at padding is not read.
        is_vision: (B, S) bool, true at visual tokens.
        mask: (B, S) bool, true at real tokens; [CLS] and [SEP] count as text.
        first: first layer of the path, from 1.
        last: last layer of the path, from 1; None for L.

    Returns:
        (B,) in [0, 1], in the precision of ``attention`` (float32 at least); NaN where a modality has no token.

    Raises:
        ValueError: if shapes do not fit, the layers are not within 1 to L in order, or a row does not sum to 1.

    Example:
        >>> uniform = torch.full((1, 3, 65, 65), 1 / 65)
        >>> is_vision = torch.arange(65)[None] < 49
        >>> round(inter_modality_flow(uniform, is_vision, torch.ones(1, 65, dtype=torch.bool)).item(), 4)
        0.3247
    """
    return cross_modal_share(rollout(attention, mask, first, last), is_vision, mask)


def rollout(attention: Tensor, mask: Tensor, first: int = 1, last: int | None = None) -> Tensor:
    """Return ``A_last ... A_first`` (B, S, S) with ``A = (I + W) / 2``, 0 in rows and columns of padding.

    Arguments as in `inter_modality_flow`.
    """
    last = attention.shape[1] if last is None else last
    _check(attention, mask, first, last)
    pairs = mask[:, :, None] & mask[:, None]
    product = torch.diag_embed(mask.to(torch.promote_types(attention.dtype, torch.float32)))
    for weights in attention[:, first - 1 : last].unbind(1):
        product = advance(product, weights.to(product).masked_fill(~pairs, 0))
    return product


def cross_modal_share(path: Tensor, is_vision: Tensor, mask: Tensor) -> Tensor:
    """Return the share (...) of ``path`` (..., S, S) between tokens of different modality; NaN where one has no token.

    ``is_vision`` and ``mask`` are (..., S); tokens that ``mask`` leaves out count on neither side.
    """
    pairs = mask[..., :, None] & mask[..., None, :]
    crosses = is_vision[..., :, None] ^ is_vision[..., None, :]
    total = path.masked_fill(~pairs, 0).sum((-1, -2))
    crossing = path.masked_fill(~(pairs & crosses), 0).sum((-1, -2))
    has_both = (is_vision & mask).any(-1) & (~is_vision & mask).any(-1)
    return (crossing / total).masked_fill(~has_both, torch.nan)


def flow_between_groups(between: Tensor, tokens: Tensor, pair_reduction: str = SUM) -> Tensor:
    """Return the flow (...) of paths that are known as sums between text and vision.

    Args:
        between: (..., 2, 2) sums of a path over the pairs of two groups, text first: what `GroupPaths` gives.
        tokens: (..., 2) how many tokens the groups have.
        pair_reduction: ``sum`` over pairs, as equation 6 prints it, or their ``mean``, within and between modalities.

    Returns:
        NaN where a modality has no token.

    Raises:
        ValueError: if ``pair_reduction`` is another word.
    """
    if pair_reduction not in PAIR_REDUCTIONS:
        raise ValueError(f"pair_reduction={pair_reduction!r}: expected {' or '.join(PAIR_REDUCTIONS)}")
    text, vision = tokens.to(between).unbind(-1)
    crossing = between[..., 0, 1] + between[..., 1, 0]
    within = between[..., 0, 0] + between[..., 1, 1]
    if pair_reduction == MEAN:
        crossing = crossing / (2 * text * vision)
        within = within / (text.square() + vision.square())
    has_both = (text > 0) & (vision > 0)
    return (crossing / (crossing + within)).where(has_both, torch.nan)


def uniform_paths(tokens: Tensor, total: Tensor, layers: Tensor) -> Tensor:
    """Return the sums (..., 2, 2) between text and vision where every token attends to all alike.

    Their flow is ``(1 - 2**-layers) * 2 m n / (m + n)**2`` for m visual and n text tokens that are all there is.

    Args:
        tokens: (..., 2) how many tokens of text and of vision count.
        total: (...) how many there are, those that do not count among them.
        layers: (...) how many layers the path has.
    """
    tokens = tokens.double()
    stays = 0.5 ** layers.double()
    spread = tokens[..., :, None] * tokens[..., None, :] * ((1 - stays) / total.double())[..., None, None]
    return spread + torch.diag_embed(tokens * stays[..., None])


class InterModalityFlow(SampleStatistic):
    """Mean over samples of `inter_modality_flow`, each sample's ratio taken first.

    Args:
        first: first layer of the path, from 1.
        last: last layer of the path, from 1; None for the model's last.
    """

    metric = "flow"
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, first: int = 1, last: int | None = None) -> None:
        super().__init__()
        self.first = first
        self.last = last

    def update(self, attention: Tensor, is_vision: Tensor, mask: Tensor) -> None:
        """Take head-averaged attention (B, L, S, S) into the account."""
        self.add(inter_modality_flow(attention, is_vision, mask, self.first, self.last))


def _check(attention: Tensor, mask: Tensor, first: int, last: int) -> None:
    if attention.dim() != 4 or attention.shape[2] != attention.shape[3]:
        raise ValueError(f"attention must have shape (B, L, S, S), got {tuple(attention.shape)}")
    expected = (attention.shape[0], attention.shape[2])
    if tuple(mask.shape) != expected or mask.dtype != torch.bool:
        raise ValueError(f"mask must be bool of shape {expected}, got {mask.dtype} of shape {tuple(mask.shape)}")
    if not 1 <= first <= last <= attention.shape[1]:
        raise ValueError(f"first={first}, last={last}: expected 1 <= first <= last <= {attention.shape[1]} layers")
    sums = attention.masked_fill(~mask[:, None, None], 0).sum(-1).masked_fill(~mask[:, None], 1)
    error = (sums - 1).abs().max().item() if sums.numel() else 0.0
    if not error <= _ROW_SUM_TOLERANCE:
        raise ValueError(f"attention rows of real tokens differ from a sum of 1 over real tokens by {error:.3g}")
