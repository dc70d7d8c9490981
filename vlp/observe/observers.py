"""Observers for general use: reduce what passes, or keep it whole (small inputs only)."""

from __future__ import annotations

from collections.abc import Callable, Collection

from torch import Tensor

from vlp.models.observation import Site

Reduction = Callable[[Site, Tensor], Tensor]
"""Takes a site and its hidden state (B, S, D) or attention map (B, H, Q, K); returns what is kept of it."""


class Reducing:
    """Applies a reduction at each chosen site as the activation passes, and keeps the results of one forward pass.

    The result must own its memory: a view of the activation would keep all of it alive.

    Args:
        sites: where to look.
        reduction: what to make of an activation.
    """

    def __init__(self, sites: Collection[Site], reduction: Reduction) -> None:
        self.sites = frozenset(sites)
        self.reduction = reduction
        self.results: dict[Site, Tensor] = {}

    def wants(self, site: Site) -> bool:
        """Return whether ``site`` is one of the chosen ones."""
        return site in self.sites

    def observe(self, site: Site, value: Tensor) -> None:
        """Reduce ``value`` and keep the result, replacing that of an earlier pass."""
        self.results[site] = self.reduction(site, value)

    def take(self) -> dict[Site, Tensor]:
        """Return the results in execution order, and forget them."""
        results, self.results = self.results, {}
        return results


def whole(site: Site, value: Tensor) -> Tensor:
    """Keep an activation as it is, in memory of its own."""
    return value.clone()
