"""Where a pair of tokens is looked at in a model, and the observer that reads it there.

Only the weights between the two and the states of the two are kept: some numbers a pair and layer, never a map.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vlp.models.observation import Site
from vlp.observe.reductions import meeting_layers, widened

# Axes: P pairs of a batch, W word pieces of a phrase, L layers, H heads, S tokens of a stream, D width.

EMBEDDING = -1
PHRASE, REGION = "phrase", "region"


@dataclass(frozen=True)
class PairSites:
    """The layers in which pairs are looked at, in execution order.

    Args:
        sides: what the two places of a pair are, `PHRASE` or `REGION`.
        attention: of each layer the map from the first place to the second, and that back.
        states: of each layer the states of the first place's stream, and of the second's.
    """

    sides: tuple[str, str]
    attention: tuple[tuple[Site, Site], ...]
    states: tuple[tuple[Site, Site], ...]

    def __str__(self) -> str:
        """Return what is read in a line, for keys of what is kept."""
        layers = [f"{first}/{second}" for first, second in (*self.attention, *self.states)]
        return " ".join([*self.sides, *layers])


def coreference_sites(sites: Iterable[Site]) -> PairSites:
    """Return where a phrase and a region meet: joint layers, or cross layers and the attention between the streams.

    Layer 0 is the embedding output of either stream.

    Raises:
        ValueError: if they meet nowhere.
    """
    sites = tuple(sites)
    layers = meeting_layers(sites)
    maps = [site for site in sites if site.is_attention]
    if len(layers[0]) == 1:
        joint = [(site, site) for site in maps if site.stage == "joint"]
        return PairSites((PHRASE, REGION), tuple(joint), tuple((layer[0], layer[0]) for layer in layers))
    there = [site for site in maps if (site.query, site.key) == ("text", "vision")]
    back = [site for site in maps if (site.query, site.key) == ("vision", "text")]
    states = [(Site("text", EMBEDDING, "text"), Site("vision", EMBEDDING, "vision")), *((a, b) for a, b in layers)]
    return PairSites((PHRASE, REGION), tuple(zip(there, back, strict=True)), tuple(states))


def relation_sites(sites: Iterable[Site]) -> PairSites:
    """Return where two regions are looked at: joint layers, or every layer of the visual stream with its own attention.

    Raises:
        ValueError: if the model reads no image.
    """
    sites = tuple(sites)
    stream = "joint" if any(site.stage == "joint" for site in sites) else "vision"
    maps = [(site, site) for site in sites if site.is_attention and site.query == site.key == stream]
    states = [(site, site) for site in sites if not site.is_attention and site.query == stream]
    if not maps:
        stages = ", ".join(dict.fromkeys(site.stage for site in sites))
        raise ValueError(f"expected layers that regions pass (stage joint or vision), found only {stages}")
    return PairSites((REGION, REGION), tuple(maps), tuple(states))


def columns(layer: tuple[Site, Site]) -> dict[str, str | int]:
    """Return the fields of a row that say which layer of states it is about; 0 is the embedding output."""
    first, second = layer
    stage = first.stage if first.query == second.query else "cross"
    return {
        "stage": stage,
        "query": first.query if first.query == second.query else "joint",
        "layer": second.layer + 1,
    }


@dataclass(frozen=True)
class PairPlaces:
    """Where the pairs of a batch stand.

    Args:
        row: (P,) the sample in the batch.
        first: (P, W) word pieces or regions of the first place, counted within its modality.
        mask: (P, W) bool, which of them there are; None where W is 1.
        second: (P,) regions.
        length: word pieces of the longest caption, T: regions follow them in a joint stream.
    """

    row: Tensor
    first: Tensor
    mask: Tensor | None
    second: Tensor
    length: int

    def to(self, device: torch.device | str) -> PairPlaces:
        """Return the places on ``device``."""
        mask = None if self.mask is None else self.mask.to(device)
        return PairPlaces(self.row.to(device), self.first.to(device), mask, self.second.to(device), self.length)


class PairObserver:
    """Reads, as a batch passes, what the two places of each pair give each other, and what they are.

    A phrase has the largest weight among its pieces, by head and direction, and the mean of their states.

    States narrower than others of the model, those of one stream of two, get zeros beside them.

    Args:
        sites: where to look.
        first_region: where the first region stands among the visual tokens (`VLEncoder.first_region`).
    """

    def __init__(self, sites: PairSites, first_region: int = 0) -> None:
        self.sites = sites
        self.first_region = first_region
        self.maps = _uses(sites.attention)
        self.states = _uses(sites.states)
        self._clear()

    def _clear(self) -> None:
        self.attention: dict[tuple[int, int], Tensor] = {}
        self.hidden: dict[tuple[int, int], Tensor] = {}

    def look_at(self, places: PairPlaces) -> None:
        """Set the pairs of the batch that comes next."""
        self.places = places

    def wants(self, site: Site) -> bool:
        """Return whether something is read at ``site``."""
        return site in (self.maps if site.is_attention else self.states)

    def observe(self, site: Site, value: Tensor) -> None:
        """Read what is asked at ``site``."""
        uses = self.maps if site.is_attention else self.states
        for layer, side in uses[site]:
            if site.is_attention:
                self.attention[layer, side] = self._weights(value, site, side)
            else:
                self.hidden[layer, side] = self._states(value, site, side)

    def take(self) -> tuple[Tensor, Tensor]:
        """Return weights (P, L, H, 2) and states (P, L, 2, D) of the batch, and forget them."""
        weights = _gathered(self.attention, len(self.sites.attention), -1)
        width = max(states.shape[-1] for states in self.hidden.values())
        hidden = {place: widened(states, width) for place, states in self.hidden.items()}
        states = _gathered(hidden, len(self.sites.states), 1)
        self._clear()
        return weights, states

    def _weights(self, value_BHQK: Tensor, site: Site, direction: int) -> Tensor:
        """Return (P, H), from the first place to the second or back."""
        assert site.key is not None
        places = self.places
        query = self._positions(direction, site.query)
        key = self._positions(1 - direction, site.key)
        weights_PWH = value_BHQK[places.row[:, None], :, query, key].float()
        if places.mask is None:
            return weights_PWH[:, 0]
        return weights_PWH.masked_fill(~places.mask[..., None], -torch.inf).amax(1)

    def _states(self, value_BSD: Tensor, site: Site, side: int) -> Tensor:
        """Return (P, D) of a side."""
        places = self.places
        states_PWD = value_BSD[places.row[:, None], self._positions(side, site.query)].float()
        if places.mask is None or side == 1:
            return states_PWD[:, 0]
        sums_PD = states_PWD.masked_fill(~places.mask[..., None], 0).sum(1)  # a product of matrices would be autocast
        return sums_PD / places.mask.sum(1, keepdim=True)

    def _positions(self, side: int, stream: str) -> Tensor:
        """Return (P, W) or (P, 1): where a side's tokens stand in a stream."""
        within = self.places.first if side == 0 else self.places.second[:, None]
        if self.sites.sides[side] != REGION:
            return within
        return within + self.first_region + (self.places.length if stream == "joint" else 0)


def _uses(layers: Iterable[tuple[Site, Site]]) -> Mapping[Site, list[tuple[int, int]]]:
    """Return for each site the layers and sides it is read for."""
    uses: dict[Site, list[tuple[int, int]]] = {}
    for at, layer in enumerate(layers):
        for side, site in enumerate(layer):
            uses.setdefault(site, []).append((at, side))
    return uses


def _gathered(read: Mapping[tuple[int, int], Tensor], layers: int, at: int) -> Tensor:
    """Return what was read, (P, L, ...), both sides along an axis put ``at`` there in each layer."""
    return torch.stack([torch.stack([read[layer, 0], read[layer, 1]], at) for layer in range(layers)], 1)
