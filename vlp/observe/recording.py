"""Recording everything a model does with a batch: for small inputs and tests."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vlp.data.sample import Batch
from vlp.models.encoder import VLEncoder
from vlp.models.observation import Site
from vlp.observe.observers import Reducing, whole


@dataclass(frozen=True)
class Trace:
    """Every activation of one pass, both maps in execution order.

    ``hidden`` maps `Site` to a hidden state (B, S, D), ``attention`` to a map (B, H, Q, K). Padding is included.
    """

    hidden: dict[Site, Tensor]
    attention: dict[Site, Tensor]


@torch.no_grad()
def record(model: VLEncoder, batch: Batch) -> Trace:
    """Return every hidden state and attention map of ``model`` on ``batch``.

    Raises:
        ValueError: if the model is in training mode, where dropout would change what is seen.
    """
    if model.training:
        raise ValueError(f"record() needs {model.name} in eval(), it is in training mode")
    observer = Reducing(model.sites, whole)
    model(batch, [observer])
    seen = observer.take()
    return Trace(
        hidden={site: value for site, value in seen.items() if not site.is_attention},
        attention={site: value for site, value in seen.items() if site.is_attention},
    )
