"""Small training states, as Lightning's checkpoints hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlp.checkpointing.generations import Generations
from vlp.checkpointing.writer import CheckpointWriter


def state(step: int) -> dict[str, Any]:
    """Return model and optimiser after some steps; about 30 kB, the same for the same step."""
    torch.manual_seed(step)
    model = nn.Sequential(nn.Linear(40, 40), nn.LayerNorm(40), nn.Linear(40, 20))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(3, 40)).square().sum().backward()
    optimizer.step()
    return {
        "epoch": 0,
        "global_step": step,
        "state_dict": model.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "loops": {"fit_loop": {"ready": step, "completed": step}},
    }


def is_same(a: Any, b: Any) -> bool:
    """Whether two states are equal to the bit."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(is_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(is_same, a, b))
    return bool(a == b)


def holds(path: Path, step: int) -> bool:
    """Whether a checkpoint verifies and is the state of ``step``."""
    return is_same(CheckpointWriter().load_checkpoint(path), state(step))


def written(folder: Path, *steps: int) -> Generations:
    """Write the checkpoints of ``steps``; ``last.ckpt`` leads to the last one."""
    generations = Generations(folder)
    for step in steps:
        CheckpointWriter().save_checkpoint(state(step), generations.path(step))
        generations.point("last", generations.path(step))
    return generations
