"""SIGKILL to a training on NLVR's images, which has to end as one that was never interrupted, to the bit."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

from tests.conftest import ROOT
from tests.data.test_nlvr import record, write
from tests.faults.case import Case, Verdict
from tests.faults.kills import KILLS, Ordeal
from tests.faults.runs import ImageTraining

GROUP = "nlvr"
RELEASED = ROOT.parent / "shared/data/nlvr"
"""A part of the data set as it was released; where it is not, a drawn one of the same layout takes its place."""
SENTENCES = 60
VARIANTS = (
    ("dataset.num_workers=0",),
    ("dataset.num_workers=1", "trainer.accumulate_grad_batches=2"),
    ("warmup=2", "milestones={epochs:[0,1],factor:0.5}", "learning_rates={embeddings.parser:1e-5}"),
)


def cases(seed: int, count: int | None = None) -> list[Case]:
    """Return one training a variant."""
    return [Case(GROUP, " ".join(variant), partial(_killed, variant, seed)) for variant in VARIANTS[:count]]


def _killed(variant: tuple[str, ...], seed: int, folder: Path) -> Verdict:
    root = RELEASED if RELEASED.is_dir() else _drawn(folder / "data")
    subject = ImageTraining(("dataset=nlvr", f"dataset.root={root}", *variant))
    return Ordeal(subject, folder, random.Random(f"{seed} {variant}")).verdict(KILLS)


def _drawn(root: Path) -> Path:
    sentences = (f"There are {number} black blocks." for number in range(SENTENCES))
    labels = ("true", "false")
    return write(root, [record(f"{n}-0", sentence, labels[n % 2]) for n, sentence in enumerate(sentences)])
