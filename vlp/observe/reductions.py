"""Observers that reduce as they look, for measurements over whole data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from vlp.models.observation import Site
from vlp.observe.observers import Reduction

# Axes: B batch, H heads, Q queries, K keys, S tokens, D width, G groups of tokens.

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
    Where one stream is narrower than the other, its states get zeros beside them.

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
            states = [self.waiting.pop(part) for part in layer]
            width = max(part.shape[-1] for part in states)
            self.results[layer] = self.reduction(torch.cat([widened(part, width) for part in states], dim=1))

    def take(self) -> list[Tensor]:
        """Return what was kept, layer by layer, and forget it."""
        results, self.results = self.results, {}
        return list(results.values())


def widened(states: Tensor, width: int) -> Tensor:
    """Return states (..., D) with zeros beside them, (..., ``width``)."""
    return torch.nn.functional.pad(states, (0, width - states.shape[-1])) if states.shape[-1] < width else states


class RunningPath:
    """Follows attention through successive layers: the product of ``(I + W) / 2``, W averaged over heads.

    Args:
        sites: attention of one stream to itself, the layers to follow.
    """

    def __init__(self, sites: Iterable[Site]) -> None:
        self.sites = frozenset(sites)
        self.path: Tensor | None = None

    def wants(self, site: Site) -> bool:
        """Return whether ``site`` is one of the layers."""
        return site in self.sites

    def observe(self, site: Site, value: Tensor) -> None:
        """Go on by one layer."""
        weights = value.mean(1)
        self.path = first_step(weights) if self.path is None else advance(self.path, weights)

    def take(self) -> Tensor:
        """Return the path (B, S, S), row = token after the last layer, column = token before the first; forget it."""
        assert self.path is not None, "no layer was observed"
        path, self.path = self.path, None
        return path


class GroupPaths:
    """Follows what tokens have from groups of tokens: row sums of ``A_j ... A_i``, where ``A = (I + W) / 2``.

    W is averaged over heads; the product says which share of a token after layer j stems from which token before layer
    i. Only shares of whole groups are carried from layer to layer, (B, S, G) a start in place of (B, S, S), and only
    their sums over each group's tokens are kept.

    Args:
        sites: attention of one stream to itself, the layers to follow, in execution order.
        groups_BSG: bool, true where a token belongs to a group; padding belongs to none.
        every_start: follow paths from every layer on, not from the first alone.
    """

    def __init__(self, sites: Sequence[Site], groups_BSG: Tensor, every_start: bool = False) -> None:
        self.number_of = {site: number for number, site in enumerate(sites, start=1)}
        self.groups_BSG = groups_BSG
        self.every_start = every_start
        self.carried: dict[int, Tensor] = {}
        self.results: dict[tuple[int, int], Tensor] = {}

    def wants(self, site: Site) -> bool:
        """Return whether ``site`` is one of the layers."""
        return site in self.number_of

    def observe(self, site: Site, value: Tensor) -> None:
        """Go on by one layer from every start, and begin at this layer."""
        number, size = self.number_of[site], self.groups_BSG.shape[-1]
        weights = value.mean(1)
        groups = self.groups_BSG.to(weights)
        shares = [*self.carried.values(), groups]
        moved = advance(torch.cat(shares, dim=-1), weights)
        starts = [*self.carried, number]
        sums = (groups.mT @ moved).unflatten(-1, (len(starts), size))
        for place, start in enumerate(starts):
            self.results[start, number] = sums[:, :, place]
        followed = starts if self.every_start else starts[:1]
        self.carried = dict(zip(followed, moved.split(size, dim=-1), strict=False))

    def take(self) -> dict[tuple[int, int], Tensor]:
        """Return, by first and last layer from 1, the sums (B, G, G), and forget them.

        Row = group after the last layer, column = group before the first. Without ``every_start`` there are the paths
        from layer 1, and those of one layer.
        """
        results, self.results, self.carried = self.results, {}, {}
        return results


def first_step(weights: Tensor) -> Tensor:
    """Return ``(I + W) / 2`` of attention (..., S, S)."""
    step = weights * 0.5
    step.diagonal(dim1=-2, dim2=-1).add_(0.5)
    return step


def advance(path: Tensor, weights: Tensor) -> Tensor:
    """Follow attention through one more layer: ``(I + W) / 2`` times the path so far, each (..., S, S).

    Row = token after the layer, column = token where the path began.
    """
    return (path + weights @ path).mul_(0.5)


def mass_of_query(query: int, groups_BGK: Tensor) -> Reduction:
    """Return a reduction of attention maps to one query's mass on groups of keys, (B, H, G).

    ``groups_BGK`` holds 1 where a key belongs to a group, 0 elsewhere. Only that query's rows are read.
    """
    return lambda site, weights_BHQK: weights_BHQK[:, :, query] @ groups_BGK.to(weights_BHQK).mT


def means_of_groups(groups_BGS: Tensor) -> Reduction:
    """Return a reduction of hidden states to the mean over each group of tokens, (B, G, D).

    ``groups_BGS`` is bool, true where a token belongs to a group; a group without tokens gives 0.
    """
    weights_BGS = groups_BGS / groups_BGS.sum(-1, keepdim=True).clamp(min=1)
    return lambda site, states_BSD: weights_BGS.to(states_BSD) @ states_BSD
