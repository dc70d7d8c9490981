"""What is killed: a training and a measurement of the smallest size, and what has to be left of each."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from tests.commands.conftest import SMALLEST
from tests.faults.nursery import Child, Watch, forked_command, started_command
from vlp.checkpointing.generations import Generations
from vlp.durable.digests import DamagedError, check_digest

RUN = "run"
"""The folder of a run, in the folder of the process."""


@dataclass(frozen=True)
class Subject(ABC):
    """A command whose process is killed and started again in the same folder, until it is done.

    Args:
        overrides: on top of those for the smallest size.
        is_forked: whether it is called in a child of this process, or started by a command line of its own.
    """

    overrides: Sequence[str] = ()
    is_forked: bool = True

    smallest: ClassVar[Sequence[str]] = SMALLEST
    """Overrides for the smallest size, before all others."""

    @property
    @abstractmethod
    def command(self) -> tuple[str, ...]:
        """The entry and its overrides."""

    @abstractmethod
    def goes_on_from(self, folder: Path) -> str:
        """Return what the next start in ``folder`` has to say that it goes on from; nothing where it has nothing."""

    @abstractmethod
    def damage(self, folder: Path, reference: Path) -> Iterator[str]:
        """Yield what is wrong with what stands in ``folder`` under its final name, whenever one looks."""

    @abstractmethod
    def differences(self, folder: Path, reference: Path) -> Iterator[str]:
        """Yield what differs between a command that is done and one that was never interrupted."""

    def start(self, folder: Path, log: Path, watch: Watch) -> Child:
        """Start the command."""
        entry, *overrides = self.command
        overrides = [*self.smallest, f"hydra.run.dir={RUN}", *overrides, *self.overrides]
        if self.is_forked:
            return forked_command(entry, overrides, folder, log, watch)
        return started_command(entry, overrides, folder, log)


class Training(Subject):
    """``train.py``: checkpoints and curves."""

    @property
    def command(self) -> tuple[str, ...]:
        sizes = ("dataset.size=48", "dataset.batch_size=8", "dataset.num_regions=4")
        return ("train", "experiment=scenes", *sizes, "trainer.enable_progress_bar=false")

    def goes_on_from(self, folder: Path) -> str:
        checkpoints = Generations(folder / RUN / "checkpoints").all()
        return checkpoints[0].name if checkpoints and not _is_finished(folder / RUN) else ""

    def damage(self, folder: Path, reference: Path) -> Iterator[str]:
        for path in Generations(folder / RUN / "checkpoints").all():
            try:
                if not check_digest(path):
                    yield f"{path} has no sha256 beside it"
            except DamagedError as error:
                yield str(error)

    def differences(self, folder: Path, reference: Path) -> Iterator[str]:
        ours, theirs = folder / RUN, reference / RUN
        if not _is_finished(ours):
            yield "run.json does not say that the run is finished"
        yield from _in_names(ours, theirs)
        yield from _in_text(ours / "metrics.csv", theirs / "metrics.csv")
        for path in Generations(theirs / "checkpoints").all():
            other = ours / "checkpoints" / path.name
            if other.is_file():
                yield from (f"{path.name}{at}" for at in _in_values(_checkpoint(other), _checkpoint(path)))


class ImageTraining(Training):
    """``train.py`` on photographs: every image with several texts, cells hidden by the parser's attention."""

    smallest = tuple(override for override in SMALLEST if not override.startswith("dataset."))

    @property
    def command(self) -> tuple[str, ...]:
        sizes = ("dataset.batch_size=4", "trainer.limit_val_batches=2", "size.swin_vlp.options.embed_dim=16")
        steps = ("trainer.max_steps=8", "trainer.val_check_interval=5", "checkpoint.every_n_steps=3")
        return ("train", "model=swin_vlp", *sizes, *steps, "trainer.enable_progress_bar=false")


class Probing(Subject):
    """``probe.py``: a cell of the store, and the table that gathers it."""

    @property
    def command(self) -> tuple[str, ...]:
        return ("probe", "probe=nmi", "weights=random", "probe.num_restarts=2")

    def goes_on_from(self, folder: Path) -> str:
        return ""

    def damage(self, folder: Path, reference: Path) -> Iterator[str]:
        for whole in (reference / "outputs" / "cells").glob("[!.]*"):
            cell = folder / "outputs" / "cells" / whole.name
            if cell.exists():
                yield from _in_names(cell, whole)
                yield from _in_text(cell / "results.csv", whole / "results.csv")

    def differences(self, folder: Path, reference: Path) -> Iterator[str]:
        yield from _in_names(folder / "outputs", reference / "outputs")
        yield from self.damage(folder, reference)
        yield from _in_text(folder / RUN / "results.csv", reference / RUN / "results.csv")


def _is_finished(run_dir: Path) -> bool:
    record = run_dir / "run.json"
    return record.is_file() and json.loads(record.read_text("utf-8"))["finished"] is True


def _checkpoint(path: Path) -> dict[str, Any]:
    """Return what a checkpoint holds, without the name that a tracker knows the run by, which each run has its own."""
    contents: dict[str, Any] = torch.load(path, weights_only=True)
    contents["vlp"].pop("run_id")
    return contents


def _names(folder: Path) -> dict[str, str]:
    """Return what stands below a folder, and where links lead."""
    paths = {str(path.relative_to(folder)): path for path in folder.rglob("*")}
    return {name: os.readlink(path) if path.is_symlink() else "" for name, path in sorted(paths.items())}


def _in_names(folder: Path, reference: Path) -> Iterator[str]:
    ours, theirs = _names(folder), _names(reference)
    for name in sorted({*ours, *theirs}):
        found, expected = (there.get(name, "nothing") or "a file" for there in (ours, theirs))
        if found != expected:
            yield f"{folder / name}: found {found}, expected {expected}"


def _in_text(path: Path, reference: Path) -> Iterator[str]:
    """Compare two tables, line by line."""
    if not path.is_file():
        yield f"{path} is missing"
        return
    ours, theirs = (file.read_bytes().decode("utf-8").splitlines(keepends=True) for file in (path, reference))
    if ours != theirs:
        numbers = range(max(len(ours), len(theirs)))
        line = next(number for number in numbers if ours[number : number + 1] != theirs[number : number + 1])
        yield f"{path}:{line + 1}: found {ours[line : line + 1]}, expected {theirs[line : line + 1]}"


def _in_values(ours: Any, theirs: Any, at: str = "") -> Iterator[str]:
    """Yield where two nested values differ, tensors by a bit."""
    if type(ours) is not type(theirs):
        yield f"{at}: found {type(ours).__name__}, expected {type(theirs).__name__}"
    elif isinstance(ours, dict) and ours.keys() == theirs.keys():
        for key in ours:
            yield from _in_values(ours[key], theirs[key], f"{at}[{key!r}]")
    elif isinstance(ours, (list, tuple)) and len(ours) == len(theirs):
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from _in_values(*pair, f"{at}[{index}]")
    elif isinstance(ours, torch.Tensor):
        if ours.dtype != theirs.dtype or not torch.equal(ours, theirs):
            yield f"{at}: another tensor"
    elif ours != theirs:
        yield f"{at}: found {str(ours)[:200]}, expected {str(theirs)[:200]}"
