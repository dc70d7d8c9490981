"""Sums that do not depend on the order of adding, so that any number of processes prints the same digits.

Adding floating-point numbers rounds each time, and in another order rounds otherwise. Here a number is taken apart into
integers, which add up exactly: its digits to the base 2**32, from 2**64 down to 2**-96. What is smaller than 2**-96
(1e-29) is cut off, number by number.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Axes: P parts of a number: how often it was none, then its digits.

_EXPONENTS = (64, 32, 0, -32, -64, -96)
_LIMIT = 2.0**96

NUM_PARTS = 1 + len(_EXPONENTS)
"""The integers P that stand for a number."""


def exact_parts(values: Tensor) -> Tensor:
    """Return ``values`` (...) as integers (..., P), sums of which are exact for up to 2**31 numbers.

    Example:
        >>> values = torch.tensor([1e16, 1.0, -1e16], dtype=torch.float64)
        >>> values.sum().item(), exact_sum(exact_parts(values).sum(0)).item()
        (0.0, 1.0)
    """
    rest = values.detach().double()
    is_number = rest.abs() < _LIMIT
    rest = rest.where(is_number, 0)
    parts = [(~is_number).long()]
    for exponent in _EXPONENTS:
        digit = (rest * 2.0**-exponent).trunc()
        rest = rest - digit * 2.0**exponent
        parts.append(digit.long())
    return torch.stack(parts, -1)


def exact_sum(parts: Tensor) -> Tensor:
    """Return the numbers (...) in double precision that the sums (..., P) stand for.

    NaN where a number was not finite, or 2**96 (8e28) or more.
    """
    total = parts.new_zeros(parts.shape[:-1], dtype=torch.float64)
    for digit, exponent in zip(parts[..., 1:].unbind(-1)[::-1], _EXPONENTS[::-1], strict=True):
        total = total + digit.double() * 2.0**exponent
    return total.masked_fill(parts[..., 0] > 0, torch.nan)
