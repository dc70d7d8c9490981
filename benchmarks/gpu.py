"""What parsing, flow and a paper's pre-training cost on a GPU, kept in ``benchmarks/results`` under the GPU's name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import flow, parsing, pretraining
from benchmarks.goals import Goal, table

RESULTS = Path(__file__).parent / "results"


def measure(rounds: int | None = None) -> list[Goal]:
    """Return the figures and write them to `RESULTS`; without a GPU say that there is none."""
    if not torch.cuda.is_available():
        names = ("parsing and flow", *pretraining.FIGURES)
        return [Goal(f"GPU: {name}", float("nan"), note="no GPU") for name in names]
    measured = [goal for item in (parsing, flow, pretraining) for goal in item.measure(rounds, "cuda")]
    goals = [replace(goal, name=f"GPU: {goal.name}") for goal in measured]
    write(goals, torch.cuda.get_device_name(), RESULTS)
    return goals


def write(goals: Iterable[Goal], device: str, folder: Path) -> Path:
    """Write the table of a run on ``device`` to a file of its name, in the place of an earlier one; return the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-") + ".md")
    title = f"# {device}, torch {torch.__version__}"
    path.write_text(f"{title}\n\n```\n{table(goals)}\n```\n", encoding="utf-8")
    return path
