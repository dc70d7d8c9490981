"""How long and on what a prober is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FitSettings:
    """Settings of a fit; ``conf/prober/fitting`` holds the usual ones.

    Args:
        seeds: one prober is trained for each, on batches of its own; at least one, each once.
        batch_size: items a batch.
        min_batches: batches an epoch has at least: few items are gone through several times before each validation.
        max_epochs: validations, at most.
        patience: epochs without a better validation figure after which a group stops.
        accelerator: Lightning's word for the device.
        precision: Lightning's word for the arithmetic, ``32-true`` or ``bf16-mixed``.

    Raises:
        ValueError: if a number is below 1, seeds are missing or repeated, or parameters would be in half precision.
    """

    seeds: Sequence[int]
    batch_size: int
    min_batches: int
    max_epochs: int
    patience: int
    accelerator: str
    precision: str

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"a prober needs seeds, each once, got seeds={list(self.seeds)}")
        for name in ("batch_size", "min_batches", "max_epochs", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"a prober needs {name} of at least 1, got {name}={getattr(self, name)}")
        if self.precision in ("16-true", "bf16-true"):
            raise ValueError(f"a prober needs precision 32-true or bf16-mixed, got precision={self.precision}")
