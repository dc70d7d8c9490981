"""Where a model can be observed, and what an observer is. Knows nothing of any model's blocks.

An encoder lists its sites in execution order and hands each site's tensor to the observers that want it, as the tensor
comes into being; an observer reduces it at once and keeps only the reduction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

# Axes: B batch, H heads, Q query tokens, K key tokens, S tokens of a stream, D width.

ROW_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, order=True)
class Site:
    """A place in a model.

    ``Site(stage, layer, query)`` is the hidden state (B, S, D) of stream ``query`` after block ``layer`` of ``stage``;
    layer -1 is the embedding output. ``Site(stage, layer, query, key)`` is the attention map (B, H, Q, K) from stream
    ``query`` to stream ``key``. Stages: joint, text, vision, cross. Streams: joint, text, vision. Layers count from 0.
    """

    stage: str
    layer: int
    query: str
    key: str | None = None

    @property
    def is_attention(self) -> bool:
        """Whether the site is an attention map rather than a hidden state."""
        return self.key is not None

    def __str__(self) -> str:
        """Return a short name such as ``cross.3.text-vision``."""
        streams = self.query if self.key is None else f"{self.query}-{self.key}"
        return f"{self.stage}.{self.layer}.{streams}"


class Observer(Protocol):
    """Reduces activations as they pass."""

    def wants(self, site: Site) -> bool:
        """Return whether `observe` is to be called for ``site``."""
        ...

    def observe(self, site: Site, value: Tensor) -> None:
        """Take a hidden state (B, S, D) or an attention map (B, H, Q, K); ``value`` must not be changed or kept."""
        ...


class CaptureError(RuntimeError):
    """An observer was handed nothing, too little, or something that is not attention."""


class Watch:
    """Hands the tensors of one forward pass to the observers that want them, and checks what is handed over.

    Args:
        observers: who looks.
        sites: every site of the model, in execution order.
        heads_of: heads that the attention map of a site must have; None where that is not known.

    Raises:
        CaptureError: if an observer wants none of the sites.
    """

    def __init__(
        self, observers: Sequence[Observer], sites: Iterable[Site], heads_of: Mapping[Site, int] | None = None
    ) -> None:
        self.heads_of = heads_of or {}
        self.wanting = {site: [o for o in observers if o.wants(site)] for site in sites}
        self.seen: set[Site] = set()
        for observer in observers:
            if not any(observer in wanting for wanting in self.wanting.values()):
                known = ", ".join(str(site) for site in self.wanting)
                raise CaptureError(f"{type(observer).__name__} matches no site of this model, which has {known}")

    def wants(self, site: Site) -> bool:
        """Return whether anybody wants ``site``; a block that nobody watches may use fused attention."""
        return bool(self.wanting.get(site))

    def attention(self, site: Site, weights_BHQK: Tensor) -> None:
        """Hand over an attention map, whose rows must sum to 1 (checked in the first head of every sample)."""
        self._check_heads(site, weights_BHQK)
        self._check_rows(site, weights_BHQK)
        self._hand_over(site, weights_BHQK)

    def hidden(self, site: Site, states_BSD: Tensor) -> None:
        """Hand over a hidden state."""
        self._hand_over(site, states_BSD)

    def finish(self) -> None:
        """Check that every wanted site was handed over.

        Raises:
            CaptureError: naming the sites that were not.
        """
        missing = [str(site) for site, wanting in self.wanting.items() if wanting and site not in self.seen]
        if missing:
            raise CaptureError(f"{len(missing)} sites were asked for and never reached: {', '.join(missing)}")

    def _hand_over(self, site: Site, value: Tensor) -> None:
        if site in self.seen:
            raise CaptureError(f"site {site} was reached twice in one pass")
        if not self.wants(site):
            return
        self.seen.add(site)
        for observer in self.wanting[site]:
            observer.observe(site, value.detach())

    def _check_heads(self, site: Site, weights_BHQK: Tensor) -> None:
        if weights_BHQK.numel() == 0:
            raise CaptureError(f"attention at {site} is empty: shape {tuple(weights_BHQK.shape)}")
        found, expected = weights_BHQK.shape[1], self.heads_of.get(site)
        if expected is not None and found != expected:
            raise CaptureError(f"attention at {site} has {found} heads, expected {expected}")

    @staticmethod
    def _check_rows(site: Site, weights_BHQK: Tensor) -> None:
        error = (weights_BHQK[:, 0].detach().float().sum(-1) - 1).abs().max().item()
        if not error <= ROW_SUM_TOLERANCE:
            raise CaptureError(f"attention rows at {site} differ from a sum of 1 by {error:.3g}")
