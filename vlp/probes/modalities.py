"""Which tokens of a layer are text, which are vision, and which a probe counts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vlp.data.collate import ProbeBatch
from vlp.models.encoder import VLEncoder
from vlp.models.observation import Site

# Axes: B samples, S tokens of both modalities, text first, V visual tokens.

TEXT, EXCLUDE = "text", "exclude"
SPECIALS = (TEXT, EXCLUDE)


def check_specials(specials: str) -> None:
    """Raise a ValueError unless ``specials`` is one of `SPECIALS`."""
    if specials not in SPECIALS:
        raise ValueError(f"specials={specials!r}: expected {' or '.join(SPECIALS)}")


def counted_tokens(
    encoder: VLEncoder, batch: ProbeBatch, layer: Sequence[Site], specials: str = EXCLUDE
) -> tuple[Tensor, Tensor]:
    """Return, for the tokens of a layer's sites, text first, two (B, S) bool: which are visual, and which count.

    Real regions, patches or cells count, and word pieces. [CLS] and [SEP] count with the text, and what stands for the
    whole image with vision, where ``specials`` is ``text``; where it is ``exclude`` they do not count.
    """
    is_vision, is_real = real_tokens(encoder, batch, layer)
    if specials == TEXT:
        return is_vision, is_real
    counted = is_real & ~_is_global(encoder, is_vision)
    counted[:, : batch.content.shape[1]] &= batch.content
    return is_vision, counted


def real_tokens(encoder: VLEncoder, batch: ProbeBatch, layer: Sequence[Site]) -> tuple[Tensor, Tensor]:
    """Return, for the tokens of a layer's sites, two (B, S) bool: which are visual, and which are no padding."""
    streams = [encoder.stream_masks(batch.inputs, site.query) for site in layer]
    is_real, is_vision = (torch.cat(parts, dim=1) for parts in zip(*streams, strict=True))
    return is_vision, is_real | _is_global(encoder, is_vision)


def _is_global(encoder: VLEncoder, is_vision: Tensor) -> Tensor:
    """Return (B, S) bool, true at the token that stands for the whole image, which streams do not call real."""
    places = is_vision[0].nonzero()
    own = encoder.embeddings.without_global(places[None])[0]
    is_global = is_vision.clone()
    is_global[:, own.flatten()] = False
    return is_global
