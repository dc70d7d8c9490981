"""Numbers gone wrong in training: found before the optimiser steps with them, named, and the batch kept for a look."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlp.data.pairs import PretrainingBatch
from vlp.durable.files import replacing

FAULTS_FOLDER = "faults"
"""Below a run's directory: one file a step that went wrong."""

SHOWN_SAMPLES = 5
"""Sample ids in a message; the file has all."""


class NonFiniteError(RuntimeError):
    """A loss or gradient is NaN or infinite; the message names step, objectives, samples and the file of the batch."""


@dataclass(frozen=True)
class Fault:
    """A step whose loss or gradient is not finite.

    Args:
        step: of the optimiser, the one that is not taken; from 1, as in ``metrics.csv``.
        epoch: from 0.
        batch_idx: in the epoch, from 0.
        batch: what the model was given.
        losses: in nats, unweighted, by objective, and as ``loss`` their weighted sum.
        objectives: whose gradient is not finite, where the losses are; None where they were not told apart.
        parameter: the first one whose gradient is not finite.
        gradient_norm: over all parameters; None where it was not looked at.
        rank, world_size: this process and how many there are.
    """

    step: int
    epoch: int
    batch_idx: int
    batch: PretrainingBatch
    losses: Mapping[str, float]
    objectives: Sequence[str] | None = None
    parameter: str | None = None
    gradient_norm: float | None = None
    rank: int = 0
    world_size: int = 1

    @property
    def file_name(self) -> str:
        """Where the batch is kept, below the folder of faults."""
        return f"step-{self.step:07d}{f'-rank{self.rank}' if self.world_size > 1 else ''}.pt"

    def error(self, folder: Path) -> NonFiniteError:
        """Return the error to raise, with the batch kept in ``folder``; a disk that does not take it is mentioned."""
        path = folder / self.file_name
        try:
            self.save(path)
        except OSError as error:
            return NonFiniteError(f"{self}; its batch could not be kept: {error}")
        return NonFiniteError(f"{self}; its batch is kept in {path}")

    def save(self, path: Path) -> None:
        """Write the batch and what became of it, for ``torch.load(path, weights_only=True)``.

        Raises:
            OSError: if the disk does not take it.
        """
        said = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "batch"}
        contents = {
            **said,
            "losses": dict(self.losses),
            "objectives": None if self.objectives is None else list(self.objectives),
            "sample_ids": list(self.batch.sample_ids),
            "tasks": list(self.batch.tasks),
            "batch": {"inputs": _tensors(self.batch.inputs), **_tensors(self.batch)},
        }
        serialised = io.BytesIO()  # since torch hides what a disk says
        torch.save(contents, serialised)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(serialised.getbuffer())

    def __str__(self) -> str:
        """Return what went wrong, where, with which numbers, on which samples."""
        process = f", process {self.rank} of {self.world_size}" if self.world_size > 1 else ""
        losses = ", ".join(f"{name}={value:g}" for name, value in self.losses.items())
        ids = self.batch.sample_ids
        more = f" and {len(ids) - SHOWN_SAMPLES} more" if len(ids) > SHOWN_SAMPLES else ""
        return (
            f"step {self.step} (epoch {self.epoch}, batch {self.batch_idx}{process}): {self._what()}; "
            f"losses {losses}; samples {', '.join(ids[:SHOWN_SAMPLES])}{more}"
        )

    def _what(self) -> str:
        if wrong := [name for name, value in self.losses.items() if not math.isfinite(value)]:
            named = [name for name in wrong if name != "loss"] or wrong
            return f"the loss of {' and '.join(named)} is not finite"
        where = f", first that of {self.parameter}" if self.parameter else ""
        return f"the gradient is not finite{where} (norm {self.gradient_norm:g}){self._whose()}"

    def _whose(self) -> str:
        if self.objectives is None:
            return ""
        if self.objectives:
            return f", that of {' and '.join(self.objectives)}"
        return f", though that of each objective{' of this process' if self.world_size > 1 else ''} is"


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Return the norm of all gradients together, as ``clip_grad_norm_`` computes it."""
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def first_faulty_parameter(module: nn.Module) -> str | None:
    """Return the name of the first parameter whose gradient has no finite norm, None if all have."""
    return next((name for name, p in module.named_parameters() if not gradient_norm([p]).isfinite()), None)


def faulty_objectives(losses: Mapping[str, Tensor], parameters: Sequence[Tensor]) -> list[str]:
    """Return the names of the losses whose own gradient has no finite norm, by a backward pass for each."""
    faulty = []
    for name, loss in losses.items():
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        if not torch.nn.utils.get_total_norm([g for g in gradients if g is not None]).isfinite():
            faulty.append(name)
    return faulty


def _tensors(batch: Any) -> dict[str, Tensor]:
    values = ((f.name, getattr(batch, f.name)) for f in fields(batch))
    return {name: value.detach().cpu() for name, value in values if isinstance(value, Tensor)}
