"""Mean and spread of every feature over the training items, in one pass whatever their number."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vlp.probes.probers.examples import Examples

CHUNK = 256
"""Items read at a time."""

CONSTANT = 1e-6
"""A feature whose standard deviation is below this part of its mean differs by rounding only."""

SMALLEST = 1e-8
"""Below it a standard deviation is that of a feature that is zero for almost all items, or for all but rounding: scaled
to 1, the next item that has it would be worth millions."""


def standardisation(examples: Examples, arrange: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Return each feature's mean, and the inverse of its (population) standard deviation; 1 for a constant feature.

    Args:
        examples: training items.
        arrange: the form of inputs whose features are meant.

    Raises:
        ValueError: if an input is NaN or infinite, naming the item.
    """
    count, mean, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for places in torch.arange(len(examples)).split(CHUNK):
        values = arrange(examples.take(places).inputs)
        _check_finite(values, places)
        var, centre = (part.double() for part in torch.var_mean(values, 0, correction=0))
        total = count + len(places)  # Chan et al., 1979: sums of squares about the means of parts add up so
        shift = centre - mean
        mean = mean + shift * len(places) / total
        squares = squares + var * len(places) + shift.square() * count * len(places) / total
        count = total
    spread = (squares / count).sqrt()
    is_constant = spread <= (CONSTANT * mean.abs()).clamp(min=SMALLEST)
    return mean.float(), spread.masked_fill(is_constant, 1).reciprocal().float()


def _check_finite(values: Tensor, places: Tensor) -> None:
    is_wrong = ~values.isfinite().flatten(1).all(1)
    if is_wrong.any():
        raise ValueError(f"item {int(places[is_wrong][0])} of the training items holds NaN or infinite activations")
