"""Small fits for the tests of probers."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from vlp.probes.probers import Examples, FitSettings, Prober

ADAMW = partial(torch.optim.AdamW, lr=1e-3, fused=True)


def settings(**changes: Any) -> FitSettings:
    """Return the settings of ``conf/prober/fitting/default.yaml``, one seed, on the processor."""
    usual = {"seeds": [0], "batch_size": 256, "min_batches": 16, "max_epochs": 50, "patience": 3}
    return FitSettings(**{**usual, "accelerator": "cpu", "precision": "32-true", **changes})


def factory(prober: type[Prober], lr: float = 1e-3, options: dict[str, Any] | None = None, **changes: Any) -> Any:
    """Return what a config of ``prober`` is: all but sizes, number of classes and seed."""
    return partial(prober, optimizer=partial(ADAMW, lr=lr), fitting=settings(**changes), **(options or {}))


def thirds(inputs: Any, label: torch.Tensor) -> tuple[Examples, Examples, Examples]:
    """Return the items as training, validation and test items, by turns."""
    everything = Examples(inputs, label)
    return tuple(everything.select(torch.arange(first, len(label), 3)) for first in range(3))  # type: ignore[return-value]
