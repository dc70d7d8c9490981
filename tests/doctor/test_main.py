"""The doctor: what it finds on a machine and in what it is given, and how it exits."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from safetensors.torch import save_file

from tests.commands.conftest import SMALLEST, Command, command  # noqa: F401 - a fixture
from tests.doctor.wrong_features import Change, Changed, as_they_are, wrong
from tests.models.checkpoints import released
from tests.models.peers import Sizes
from vlp.data.dataset import build_dataset
from vlp.doctor.__main__ import main
from vlp.durable.digests import write_sidecar
from vlp.models import build, export_weights
from vlp.models.checkpoints import published
from vlp.models.checkpoints.published import Published

ROOT = Path(__file__).parents[2]
FEATURE_WIDTH = 64
SMALL = ("dataset.size=4", "size.layers=1", "size.width=16", "size.heads=2", "size.feed_forward=32")


class Answer:
    """What the doctor said, every line as one text whatever the terminal's width."""

    def __init__(self, status: int, said: str) -> None:
        self.status = status
        self.lines = [" ".join(line.split()) for line in said.splitlines()]

    def of(self, state: str, subject: str) -> str:
        """Return the one line that begins with state and subject."""
        (line,) = [line for line in self.lines if line.startswith(f"{state} {subject}")]
        return line


@pytest.fixture
def doctor(in_temporary_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("COLUMNS", "2000")
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(in_temporary_folder / name))

    def call(*overrides: str) -> Answer:
        status = main(overrides)
        said = capsys.readouterr()
        assert not GlobalHydra.instance().is_initialized()
        return Answer(status, said.out + said.err)

    return call


@pytest.fixture
def weights(in_temporary_folder: Path) -> Path:
    """Weights of ours with a record that fits scenes, and their sidecar."""
    model = build("uniter", feature_width=FEATURE_WIDTH, layers=1, width=16, heads=2, feed_forward=32)
    path = in_temporary_folder / "own.safetensors"
    record = {"model": {"name": "uniter"}, "size": "tiny", "dataset": "scenes", "feature_width": FEATURE_WIDTH}
    export_weights(model, path, {**record, "vocab_size": model.vocab_size})
    return path


def test_without_arguments_nothing_is_loaded_and_no_key_is_shown():
    script = """
import os, sys
os.environ["WANDB_API_KEY"] = "secret-of-the-environment"
from vlp.doctor.__main__ import main
status = main([])
print("loaded", sorted({"torch", "wandb", "transformers", "pytorch_lightning", "matplotlib"} & set(sys.modules)))
sys.exit(status)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("nothing failed\nloaded []\n")
    assert "WANDB_API_KEY" in done.stdout
    assert "secret" not in done.stdout + done.stderr


def test_what_is_asked_for_is_opened_built_and_loaded(doctor, weights: Path):
    answer = doctor("model=uniter", f"weights={weights}", "probe=nmi", *SMALL)
    assert answer.status == 0, answer.lines
    assert "4 samples in split test" in answer.of("ok", "dataset scenes")
    assert "0 missing, 0 unexpected" in answer.of("ok", "loading")
    assert "as in training" in answer.of("ok", "tokenizer")
    assert f"sha256sum {weights.name} > {weights.name}.sha256" in answer.of("note", "their sidecar")
    assert f"not tried: {weights} has no pre-training heads" in answer.of("note", "behaviour")
    assert "regions, which scenes has" in answer.of("ok", "what it reads")


def test_what_a_probe_needs_of_the_data_is_told(doctor):
    assert "needs regions, phrases, which scenes has" in doctor("probe=vcd", *SMALL).of("ok", "probe")


def test_a_probe_of_regions_and_a_model_of_pixels_fail(doctor):
    answer = doctor("model=vilt", "probe=vcd", *SMALL)
    assert answer.status == 1
    expected = "model vilt reads pixels and has no region tokens; probe CoreferenceProbe needs them"
    assert expected in answer.of("failed", "model vilt")
    assert "pixels, which scenes has" in doctor("model=vilt", *SMALL).of("ok", "what it reads")


@pytest.mark.parametrize("probe", ["nmi", "pretraining"])
def test_a_probe_of_images_and_a_model_of_text_fail(probe: str, doctor):
    answer = doctor("model=bert", f"probe={probe}", *SMALL)
    assert answer.status == 1
    assert f"probe {probe} " in answer.of("failed", "model bert")


def test_a_damaged_file_is_told_by_its_sidecar(doctor, weights: Path):
    write_sidecar(weights, "0" * 64)
    answer = doctor(f"weights={weights}", *SMALL)
    assert answer.status == 1
    assert f"expected {'0' * 64}" in answer.of("failed", "weights")


def test_weights_of_another_vocabulary_features_or_shape_fail(doctor, in_temporary_folder: Path):
    model = build("uniter", feature_width=32, vocab_size=50, layers=1, width=16, heads=2, feed_forward=32)
    export_weights(model, "other.safetensors", {"feature_width": 32, "vocab_size": 50})
    answer = doctor("weights=other.safetensors", *SMALL)
    assert answer.status == 1
    assert "the weights were trained with 50" in answer.of("failed", "tokenizer")
    assert "trained on features of width 32, dataset scenes has width 64" in answer.of("failed", "model uniter")


def test_a_file_of_no_known_format_fails(doctor, in_temporary_folder: Path):
    save_file({"weight": torch.zeros(1)}, "strange.safetensors")
    answer = doctor("weights=strange.safetensors", *SMALL)
    assert answer.status == 1
    assert "is in no format we know" in answer.of("failed", "model uniter")
    assert "no error tells wrong ones" in answer.of("note", "their record")


def test_a_recipe_that_is_not_trained_yet_is_no_failure(doctor):
    answer = doctor("weights=auto", "dataset.size=4")
    assert answer.status == 0, answer.lines
    assert "recipe:scenes, not trained yet" in answer.of("note", "weights")
    assert not Path("outputs").exists()


def test_a_folder_without_official_files_fails_with_what_to_give(doctor, in_temporary_folder: Path):
    answer = doctor("dataset=nlvr", "dataset.root=nowhere")
    assert answer.status == 1
    line = answer.of("failed", "dataset nlvr")
    assert "folder nowhere does not exist" in line
    assert "give dataset.root=DIR" in line


def test_a_misspelt_key_is_answered_in_one_line(doctor):
    answer = doctor("modle=uniter")
    assert answer.status == 1
    assert answer.lines[-1] == "error: there is no key modle; did you mean model?"


def unnamed(monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    """Let the doctor open every dataset with other regions, and with nothing that says so."""
    monkeypatch.setattr("vlp.doctor.subjects.build_dataset", lambda config: Changed(build_dataset(config), change))


def check_wrong_features(doctor, monkeypatch: pytest.MonkeyPatch, seed: int, *overrides: str) -> None:
    unnamed(monkeypatch, as_they_are)
    right = doctor(*overrides)
    assert right.status == 0, right.lines
    assert "like those of training, by their numbers" in right.of("ok", "features")
    for name, change in wrong(seed).items():
        unnamed(monkeypatch, change)
        answer = doctor(*overrides)
        assert answer.status == 1, name
        assert "features do not match weights" in answer.of("failed", "features"), (name, answer.lines)


def test_features_that_the_weights_were_not_trained_on_fail(doctor, command: Command, monkeypatch):  # noqa: F811
    small = [*SMALLEST, "dataset.size=32", "dataset.batch_size=16"]
    done = command("train", *small, "trainer.max_steps=1", "hydra.run.dir=run")
    assert done.status == 0, done.err
    check_wrong_features(doctor, monkeypatch, 0, "weights=run/checkpoints/last.ckpt", *small)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_they_fail_at_the_size_of_the_recipe_too(seed: int, doctor, command: Command, monkeypatch):  # noqa: F811
    steps = ("trainer.max_steps=60", "trainer.limit_val_batches=1", "trainer.accelerator=cpu")
    done = command("train", f"seed={seed}", f"dataset.seed={seed}", *steps, "hydra.run.dir=run")
    assert done.status == 0, done.err
    check_wrong_features(doctor, monkeypatch, seed, "weights=run/checkpoints/last.ckpt", f"dataset.seed={seed + 1}")


TINY = Sizes((4,), width=128, heads=4, feed_forward=512, positions=128, vocab=80, feature_width=20)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Published:
    """A table of one public checkpoint, of tiny size."""
    tensors = released.uniter(TINY)
    row = replace(
        next(row for row in published.published() if row.names == ("uniter-base.pt",)),
        tensors=len(tensors),
        parameters=sum({id(tensor): tensor.numel() for tensor in tensors.values()}.values()),
        vocabulary=TINY.vocab,
        feature_width=TINY.feature_width,
    )
    monkeypatch.setattr(published, "published", lambda: (row,))
    return row


def test_released_weights_are_held_against_the_table_and_loaded_as_what_they_are(doctor, table: Published):
    torch.save(released.uniter(TINY), "uniter-base.pt")
    answer = doctor("weights=uniter-base.pt", "dataset.size=4")
    assert answer.status == 0, answer.lines
    told = answer.of("note", "published as uniter-base.pt of https://github.com/ChenRocks/UNITER, MIT")
    assert "; known from its documents alone, 2026-11-21: no such file was opened tokenizer=bert-base-cased" in told
    assert "is dead (https://github.com/ChenRocks/UNITER/issues/96)" in answer.of("note", "its address")
    loaded = answer.of("ok", "loading")
    assert "model=uniter size=tiny, format uniter: 0 missing, 0 unexpected; 13 weights of heads, 7 left out" in loaded


def test_released_weights_of_another_feature_width_fail_as_such(doctor):
    torch.save(released.uniter(TINY), "uniter.pt")
    answer = doctor("model=uniter", "weights=uniter.pt", "dataset.size=4", "dataset.feature_width=32")
    assert answer.status == 1
    line = answer.of("failed", "features")
    assert "features do not match weights: those of the weights are 20 wide, those of dataset scenes 32 give" in line
    assert not [line for line in answer.lines if line.startswith("failed model")]


def test_released_weights_that_lack_something_fail_with_the_numbers(doctor, table: Published):
    tensors = released.uniter(TINY)
    del tensors["itm_output.bias"]
    torch.save(tensors, "uniter-base.pt")
    answer = doctor("weights=uniter-base.pt", "dataset.size=4")
    assert answer.status == 1
    assert f"but {table.tensors - 1} tensors, published {table.tensors}" in answer.of("failed", "published as")


def test_weights_of_a_visual_parser_say_where_they_go(doctor):
    tensors = {
        "patch_embed.proj.weight": torch.zeros(1),
        "layers.0.blocks.0.attn.relative_position_bias_table": torch.zeros(1),
    }
    torch.save(tensors, "swin.pth")
    answer = doctor("weights=swin.pth", "dataset.size=4")
    assert answer.status == 0, answer.lines
    assert "timm's Swin: 2 weights of a parser" in answer.of("ok", "loading")
    assert "part='embeddings.parser.network.'" in answer.of("ok", "loading")
