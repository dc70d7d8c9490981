"""Every option of ``conf/model``: a short training, the probes that apply to it, and why the others do not."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import pytest
import torch

from tests.commands.conftest import SMALLEST, Command
from tests.models.examples import MODELS
from vlp.models import VLEncoder, build
from vlp.observe.reductions import meeting_layers
from vlp.results import Record, read_results

EVERY = f"model={','.join(MODELS)}"
TRAINING = ("trainer.max_steps=20", "dataset.batch_size=4", *SMALLEST)
WEIGHTS = "weights=trained/${model.name}/checkpoints/last.ckpt"


def encoder(name: str) -> VLEncoder:
    """The model without weights, as small as the commands build it here."""
    sizes = {key.removeprefix("size."): int(value) for key, value in (each.split("=") for each in SMALLEST[:7])}
    with torch.device("meta"):
        return build(name, feature_width=8, vocab_size=1, **sizes)


READS = {name: encoder(name).reads for name in MODELS}
REFUSED = {
    "nmi": {
        name: f"probe nmi cannot be put to model {name}: "
        "expected layers in which text and vision meet (stage joint or cross), found only text"
        for name in MODELS
        if READS[name] == "text"
    },
    "vcc": {
        name: f"model {name} reads {READS[name]} and has no region tokens; probe vcc needs them"
        for name in MODELS
        if READS[name] != "regions"
    },
}
"""By probe and model, why it cannot be put."""


def refusals(err: str) -> dict[tuple[str, str], str]:
    """What a sweep says, by probe and model, of the cells that failed."""
    cells = re.findall(r"^  (?=.*\bprobe=(\w+))(?=.*\bmodel=(\w+))[^:]*: (.*)$", err, re.MULTILINE)
    return {(probe, model): why for probe, model, why in cells}


def layers(records: list[Record], name: str) -> list[int]:
    """The layers of the model's rows, each of which has an NMI."""
    rows = [row for row in records if (row.model, row.condition, row.metric) == (name, "model", "nmi")]
    assert all(0 <= row.value <= 1 for row in rows)
    return [int(row.layer) for row in rows]


@pytest.mark.parametrize("probe", REFUSED)
def test_a_probe_that_cannot_be_put_to_a_model_says_why(probe: str, command: Command, in_process: None):
    expected = {(probe, name): why for name, why in REFUSED[probe].items()}
    assert expected
    for _, name in expected:
        done = command("probe", f"probe={probe}", f"model={name}", "weights=random", *SMALLEST)
        assert done.status == 1
        assert done.error == f"error: {expected[probe, name]}"


@pytest.mark.slow
def test_every_model_is_trained_and_asked_what_can_be_asked_of_it(command: Command, in_process: None):
    for name in MODELS:
        done = command("train", f"model={name}", f"hydra.run.dir=trained/{name}", *TRAINING)
        assert done.status == 0, done.err
        with (Path("trained") / name / "metrics.csv").open() as file:
            losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
        assert len(losses) == 2, name  # of every tenth step
        assert all(map(math.isfinite, losses)), name

    done = command(
        "probe", "-m", "probe=nmi,vcc", EVERY, WEIGHTS, *SMALLEST, "dataset.size=12", "hydra.sweep.dir=sweep"
    )
    assert done.status == 1
    assert refusals(done.err) == {
        (probe, name): why for probe, refused in REFUSED.items() for name, why in refused.items()
    }
    records = read_results(Path("sweep") / "results.csv")
    assert all(row.weights.startswith("last-") for row in records)
    assert len({row.weights for row in records}) == len(MODELS) - len(REFUSED["nmi"])
    for name in sorted(set(MODELS) - set(REFUSED["nmi"])):
        expected = [layer[0].layer + 1 for layer in meeting_layers(encoder(name).sites)]
        assert layers(records, name) == expected, name
    asked = {row.model for row in records if row.probe == "vcc" and row.condition == "model"}
    assert asked == set(MODELS) - set(REFUSED["vcc"])
