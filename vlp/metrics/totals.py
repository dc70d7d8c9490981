"""Named sums over every sample of a data set, the same on one process and on many."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric

from vlp.metrics.exact import NUM_PARTS, exact_parts, exact_sum


class Totals(Metric):
    """Sums of named quantities, in double precision, the same to the bit whoever adds what when.

    Args:
        shapes: by name, the shape of what is summed; ``()`` for a number.

    Example:
        >>> totals = Totals({"loss": (), "counts": (3,)})
        >>> totals.update({"loss": torch.tensor(0.5), "counts": torch.tensor([1, 0, 2])})
        >>> totals.compute()["counts"].tolist()
        [1.0, 0.0, 2.0]
    """

    full_state_update = False

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.names = tuple(shapes)
        for name, shape in shapes.items():
            self.add_state(name, torch.zeros(*shape, NUM_PARTS, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, values: Mapping[str, Tensor | float]) -> None:
        """Add ``values``, one entry a name.

        Raises:
            ValueError: if the names are not the ones declared.
        """
        if set(values) != set(self.names):
            raise ValueError(f"totals of {sorted(self.names)} were given {sorted(values)}")
        for name, value in values.items():
            state = getattr(self, name)
            setattr(self, name, state + exact_parts(torch.as_tensor(value, dtype=torch.float64, device=state.device)))

    def compute(self) -> dict[str, Tensor]:
        """Return the sums by name."""
        return {name: exact_sum(getattr(self, name)) for name in self.names}

    def collect(self) -> dict[str, Tensor]:
        """Return the sums over all processes, and start anew."""
        values = dict(self.compute())
        self.reset()
        return values
