"""A model, a probe and a dataset from outside the package: one file and one config each, no file of ours edited."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from tests.commands.conftest import SMALLEST, Command, command  # noqa: F401 - a fixture
from vlp.configs import option_names, trust_folder
from vlp.data import open_dataset
from vlp.models import build
from vlp.results import Record, read_results

ROOT = Path(__file__).parents[1]

MODEL = '''
from dataclasses import replace

from vlp.models.embeddings.uniter import UniterEmbeddings


class Blind(UniterEmbeddings):
    """UNITER that sees where things are and not what they are."""

    def forward(self, batch):
        return super().forward(replace(batch, features=batch.features * 0))
'''
MODEL_CONFIG = "defaults: [uniter, _self_]\nname: blind\nembeddings:\n  _target_: blind.Blind\n"

PROBE = '''
from vlp.metrics.estimates import SampleMean
from vlp.probes.base import Probe, estimated_row


class Length(Probe):
    """How long the states of the last layer are."""

    def __init__(self, encoder, control, seed=0, needs=("regions",), power=1.0):
        super().__init__(encoder, control, seed, needs)
        self.power, self.norm = power, SampleMean(())

    def test_step(self, batch, batch_idx):
        states = self.encoder(batch.inputs).text
        self.norm.update(states.norm(dim=-1).mean(-1) ** self.power)

    def results(self):
        return [estimated_row("model", "length", self.norm.compute(), parameter=f"power={self.power}")]
'''
PROBE_CONFIG = "_target_: length.Length\n_partial_: true\npower: 2.0\n"

DATASET = '''
import json
import sys
from pathlib import Path

import torch

from vlp.data import Regions, Sample, VLDataset


class Lines(VLDataset):
    """Captions of a JSON file, each with two regions of its own."""

    name = "lines"
    annotations = frozenset({"regions"})
    feature_width = 5

    def __init__(self, root, split="test"):
        self.split = split
        self.captions = json.loads((Path(root) / "captions.json").read_text())

    def __len__(self):
        return len(self.captions)

    def __getitem__(self, index):
        boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]])
        features = torch.full((2, 5), float(index))
        return Sample(str(index), self.captions[index], 10, 10, regions=Regions(boxes, features))
'''
DATASET_CONFIG = "name: lines\n_target_: lines.Lines\nroot: null\nfiles: ['*.json']\nnum_workers: 0\nbatch_size: 2\n"
CAPTIONS = ["a red dog", "a cat", "two birds on a tree"]


def fingerprint() -> str:
    """Return a digest of every file of ours that a command could read."""
    files = sorted([*ROOT.glob("vlp/**/*.py"), *ROOT.glob("conf/**/*.yaml"), *ROOT.glob("*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@pytest.fixture
def mine(in_temporary_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = in_temporary_folder / "mine"
    for name in ("blind", "length", "lines"):  # another test's, from another folder
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name, code, group, config in [
        ("blind", MODEL, "model", MODEL_CONFIG),
        ("length", PROBE, "probe", PROBE_CONFIG),
        ("lines", DATASET, "dataset", DATASET_CONFIG),
    ]:
        (folder / group).mkdir(parents=True)
        (folder / f"{name}.py").write_text(code)
        (folder / group / f"{name}.yaml").write_text(config)
    (in_temporary_folder / "data").mkdir()
    (in_temporary_folder / "data" / "captions.json").write_text(json.dumps(CAPTIONS))
    return folder


def measured(command: Command, *arguments: str) -> list[Record]:  # noqa: F811
    before = fingerprint()
    done = command("probe", "--config-dir", "mine", "weights=random", *arguments)
    assert done.status == 0, done.err
    assert fingerprint() == before
    (table,) = Path("outputs/probe").glob("*/results.csv")
    return read_results(table)


SIZE = [override for override in SMALLEST if not override.startswith("dataset.")]


def test_a_model_is_added_by_one_file_and_one_config(mine: Path, command: Command):  # noqa: F811
    records = measured(command, "model=blind", *SMALLEST)
    assert {(record.model, record.probe) for record in records} == {("blind", "nmi")}


def test_a_probe_is_added_by_one_file_and_one_config(mine: Path, command: Command):  # noqa: F811
    (record,) = measured(command, "probe=length", *SMALLEST)
    assert (record.probe, record.metric, record.parameter, record.n) == ("length", "length", "power=2.0", 8)


def test_a_dataset_is_added_by_one_file_and_one_config(mine: Path, command: Command):  # noqa: F811
    records = measured(command, "dataset=lines", "dataset.root=data", *SIZE)
    assert {(record.dataset, record.n) for record in records} == {("lines", len(CAPTIONS))}


def test_all_three_together_and_shown_in_help(mine: Path, command: Command):  # noqa: F811
    (record,) = measured(command, "model=blind", "probe=length", "dataset=lines", "dataset.root=data", *SIZE)
    assert (record.model, record.probe, record.dataset) == ("blind", "length", "lines")
    help_text = command("probe", "--config-dir", "mine", "--help").out
    assert all(line in help_text for line in ("model: bert, blind", "length", "lines"))


def test_python_finds_them_too(mine: Path, command: Command):  # noqa: F811
    trust_folder(mine)
    assert "blind" in option_names("model")
    assert type(build("blind", feature_width=5, layers=1).embeddings).__name__ == "Blind"
    assert [sample.caption for sample in open_dataset("lines", root="data")] == CAPTIONS


def test_without_the_folder_they_do_not_exist(mine: Path, command: Command):  # noqa: F811
    assert command("probe", "weights=random", "model=blind").error.startswith("error: model=blind is not an option")


def test_a_folder_that_is_not_there_is_named(in_temporary_folder: Path, command: Command):  # noqa: F811
    answer = command("probe", "--config-dir", "nowhere", "weights=random")
    assert answer.error.startswith("error: Additional config directory '")
    assert answer.error.endswith("nowhere' not found")


def test_code_of_a_searchpath_folder_is_not_trusted(mine: Path, command: Command):  # noqa: F811
    answer = command("probe", "hydra.searchpath=[file://mine]", "weights=random", "probe=length", *SMALLEST)
    assert answer.error == "error: length.Length is not allowed at probe"
