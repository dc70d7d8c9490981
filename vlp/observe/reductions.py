"""Observers that reduce as they look, for measurements over whole data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from vlp.models.observation import Site

# Axes: B batch, S tokens, D width.

VISUAL_STAGES = ("joint", "cross")
"""Stages whose states have read both modalities."""


def meeting_layers(sites: Iterable[Site]) -> tuple[tuple[Site, ...], ...]:
    """Return, for each layer after which both modalities can be looked at together, the hidden sites of its tokens.

    That is one joint site a layer in a single-stream model (the embedding output included), and the text and vision
    states of each cross layer in a dual-stream one, text first.

    Raises:
        ValueError: if there is no such layer, as in a model that reads text only.
    """
    sites = tuple(sites)
    hidden = [site for site in sites if not site.is_attention and site.stage in VISUAL_STAGES]
    if not hidden:
        stages = ", ".join(dict.fromkeys(site.stage for site in sites))
        raise ValueError(f"expected layers in which text and vision meet (stage joint or cross), found only {stages}")
    places = dict.fromkeys((site.stage, site.layer) for site in hidden)
    return tuple(tuple(sorted(site for site in hidden if (site.stage, site.layer) == place)) for place in places)


class MeetingStates:
    """Hands the states of both modalities after each chosen layer to a function, and keeps what it returns.

    Of a dual-stream layer the state that comes first waits for the other, which follows at once; nothing else is kept.

    Args:
        layers: what `meeting_layers` gives, or some of it.
        reduction: takes the states (B, S, D) of one layer's tokens, text first; its result must own its memory.
    """

    def __init__(self, layers: Iterable[tuple[Site, ...]], reduction: Callable[[Tensor], Tensor]) -> None:
        self.layer_of = {site: layer for layer in layers for site in layer}
        self.reduction = reduction
        self.waiting: dict[Site, Tensor] = {}
        self.results: dict[tuple[Site, ...], Tensor] = {}

    def wants(self, site: Site) -> bool:
        """Return whether ``site`` belongs to one of the layers."""
        return site in self.layer_of

    def observe(self, site: Site, value: Tensor) -> None:
        """Reduce a layer's states as soon as all of them are there."""
        layer = self.layer_of[site]
        if len(layer) == 1:
            self.results[layer] = self.reduction(value)
            return
        self.waiting[site] = value.clone()
        if all(part in self.waiting for part in layer):
            self.results[layer] = self.reduction(torch.cat([self.waiting.pop(part) for part in layer], dim=1))

    def take(self) -> list[Tensor]:
        """Return what was kept, layer by layer, and forget it."""
        results, self.results = self.results, {}
        return list(results.values())


def advance(path: Tensor, weights: Tensor) -> Tensor:
    """Follow attention through one more layer: ``(I + W) / 2`` times the path so far, each (..., S, S).

    Row = token after the layer, column = token where the path began.
    """
    return (path + weights @ path).mul_(0.5)
