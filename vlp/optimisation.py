"""How fast what is learned: a rate for each part of a model, and how the rates change over a training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vlp.configs import did_you_mean, dotted

ENCODER = "encoder."
SPARED_TABLES = ("relative_position_bias_table",)
"""Ends of the names of matrices that are not decayed, as Swin's authors and timm have it."""


@dataclass(frozen=True)
class Milestones:
    """When learning rates fall, all by one factor.

    Args:
        epochs: at whose start they do, counted from 0.
        factor: what they are multiplied by, each time.

    Raises:
        ValueError: if the epochs do not rise, or the factor is no share.
    """

    epochs: Sequence[int]
    factor: float

    def __post_init__(self) -> None:
        """Check the arguments."""
        if list(self.epochs) != sorted(set(self.epochs)) or min(self.epochs, default=0) < 0:
            raise ValueError(f"milestones.epochs={list(self.epochs)}: expected rising numbers from 0 on")
        if not 0 <= self.factor <= 1:
            raise ValueError(f"milestones.factor={self.factor}: expected a share from 0 to 1")

    def steps(self, steps_an_epoch: int) -> list[int]:
        """Return the first steps of the epochs."""
        return [epoch * steps_an_epoch for epoch in self.epochs]


def warmup_steps(warmup: float, total: int) -> int:
    """Return over how many of ``total`` steps learning rates rise; at least 1.

    Args:
        warmup: a share of the steps below 1, or a number of them.
        total: steps of the training.

    Raises:
        ValueError: if it is neither.
    """
    if warmup < 0 or (warmup >= 1 and warmup != int(warmup)):
        raise ValueError(f"warmup={warmup}: expected a share below 1 or a number of steps")
    return max(1, round(warmup * total) if warmup < 1 else int(warmup))


def linear_schedule(step: int, warmup: int, total: int) -> float:
    """Return the factor of the learning rate at ``step``: up over ``warmup`` steps, then down to 0 at ``total``."""
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, (total - step) / max(1, total - warmup))


def stepped_schedule(step: int, warmup: int, falls: Sequence[int], factor: float) -> float:
    """Return the factor of the learning rate at ``step``: up over ``warmup`` steps, less by ``factor`` at each fall."""
    return float(min(1.0, (step + 1) / warmup) * factor ** sum(step >= fall for fall in falls))


def parameter_groups(module: nn.Module, learning_rates: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the trained parameters in groups: matrices, and those never decayed, of each part with its own rate.

    Biases, norms, single vectors and Swin's tables of biases are not decayed. UNITER's released code decays its two
    region norms, because of their names; we do not.

    Args:
        module: what is trained.
        learning_rates: by the start of a parameter's name, without ``encoder.``; the longest that fits counts, and
            null is as if it were not there. All others have the optimiser's own rate. ``{"a": {"b": 1e-5}}`` is
            ``{"a.b": 1e-5}``.

    Raises:
        ValueError: if no name begins so, or a rate is no number.
    """
    given = dotted(learning_rates, "learning_rates", float)
    rates = {part: rate for part, rate in given.items() if rate is not None}
    named = {name.removeprefix(ENCODER): p for name, p in module.named_parameters() if p.requires_grad}
    part_of = {name: _part(name, rates) for name in named}
    for unknown in rates.keys() - set(part_of.values()):
        known = sorted({".".join(name.split(".")[:depth]) for name in named for depth in (1, 2)})
        raise ValueError(f"learning_rates: no parameter's name begins with {unknown}{did_you_mean(unknown, known)}")
    groups: list[dict[str, Any]] = []
    parts: list[str | None] = [None, *rates]
    for part in parts:
        members = {name: parameter for name, parameter in named.items() if part_of[name] == part}
        own = {} if part is None else {"lr": rates[part]}
        decayed = [parameter for name, parameter in members.items() if _is_decayed(name, parameter)]
        spared = [parameter for name, parameter in members.items() if not _is_decayed(name, parameter)]
        groups += [{"params": decayed, **own}, {"params": spared, "weight_decay": 0.0, **own}]
    return [group for group in groups if group["params"]]


def _part(name: str, parts: Iterable[str]) -> str | None:
    """Return the longest of ``parts`` that a parameter's name begins with, None where it is of none."""
    return max((part for part in parts if f"{name}.".startswith(f"{part}.")), key=len, default=None)


def _is_decayed(name: str, parameter: Tensor) -> bool:
    return parameter.squeeze().ndim > 1 and not name.endswith(SPARED_TABLES)
