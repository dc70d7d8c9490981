"""Equal content, equal hash; anything that changes what comes out, another."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import pytest

from vlp.commands import identity
from vlp.commands.identity import content_hash, path_digest

CONFIG: dict[str, Any] = {
    "entry": "probe",
    "seed": 0,
    "model": {"name": "uniter"},
    "dataset": {"name": "nlvr", "root": None, "files": [], "num_workers": 0, "batch_size": 64, "split": "test"},
    "probe": {"_target_": "vlp.probes.nmi.NMIProbe", "num_restarts": 10},
    "trainer": {"precision": "32-true", "accelerator": "auto", "devices": 1, "enable_progress_bar": True},
    "callbacks": {"progress": {"refresh_rate": 20}},
    "logger": {"save_dir": "a"},
    "paths": {"outputs": "outputs"},
    "run": {"dir": "a", "probe": "nmi"},
    "weights": "a.ckpt",
    "force": False,
}


def changed(key: str, value: object) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    *parents, last = key.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    node[last] = value
    return config


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vlp" / "digests"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dataset.num_workers", 4),
        ("trainer.enable_progress_bar", False),
        ("trainer.accelerator", "gpu"),
        ("trainer.devices", 8),
        ("callbacks.progress", None),
        ("logger", None),
        ("paths.outputs", "/elsewhere"),
        ("run.dir", "/elsewhere"),
        ("weights", "the/same/file.ckpt"),
        ("force", True),
    ],
)
def test_where_and_how_fast_does_not_matter(key: str, value: object):
    assert content_hash(changed(key, value), "sha") == content_hash(CONFIG, "sha")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 1),
        ("model.name", "lxmert"),
        ("dataset.split", "val"),
        ("dataset.batch_size", 32),
        ("probe.num_restarts", 1),
        ("trainer.precision", "bf16-mixed"),
        ("run.probe", "nmi_again"),
        ("dataset.root", "/elsewhere"),
    ],
)
def test_what_changes_the_result_does(key: str, value: object):
    assert content_hash(changed(key, value), "sha") != content_hash(CONFIG, "sha")


def test_weights_enter_by_their_content():
    assert content_hash(CONFIG, "one") != content_hash(CONFIG, "other")


def test_the_devices_of_a_training_matter_since_they_change_the_batch_of_a_step():
    one, eight = changed("trainer.devices", 1), changed("trainer.devices", 8)
    one["entry"] = eight["entry"] = "train"
    assert content_hash(one) != content_hash(eight)


def with_data(root: Path, text: str) -> dict[str, Any]:
    (root / "dev").mkdir(parents=True)
    (root / "dev" / "dev.json").write_text(text)
    config = changed("dataset.root", str(root))
    config["dataset"]["files"] = ["*/*.json"]
    return config


def test_data_enter_by_their_content_and_not_by_their_place(tmp_path: Path):
    here, there = with_data(tmp_path / "here", "{}"), with_data(tmp_path / "there", "{}")
    other = with_data(tmp_path / "other", "[]")
    assert content_hash(here) == content_hash(there)
    assert content_hash(here) != content_hash(other)


def test_data_that_change_in_place_change_the_hash(tmp_path: Path):
    config = with_data(tmp_path / "here", "{}")
    before = content_hash(config)
    (tmp_path / "here" / "dev" / "dev.json").write_text("{ }")
    assert content_hash(config) != before


def test_a_tokenizer_enters_by_its_content_and_not_by_its_place(tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    found: dict[str, list[str]] = {"": [], "vocab.txt": []}
    for words in ("a\nb", "b\na"):
        (here / "vocab.txt").write_text(words)
        for name, hashes in found.items():
            hashes.append(content_hash(changed("tokenizer", str(here / name))))
    here.rename(there)
    for name, (first, second) in found.items():
        assert content_hash(changed("tokenizer", str(there / name))) == second != first


def test_a_tokenizer_of_the_hub_is_its_name():
    names = (None, "bert-base-cased", "bert-base-uncased")
    assert len({content_hash(changed("tokenizer", name)) for name in names}) == 3


def test_a_file_is_read_once_and_its_digest_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = with_data(tmp_path / "here", "{}")
    before = content_hash(config)
    monkeypatch.setattr(identity, "path_digest", lambda path: pytest.fail(f"{path} was read again"))
    assert content_hash(config) == before


def test_a_digest_is_sha256_of_the_bytes(tmp_path: Path):
    (tmp_path / "weights.pt").write_bytes(b"abc" * 1_000_000)
    assert path_digest(tmp_path / "weights.pt") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


def test_a_folder_is_its_files_with_their_names(tmp_path: Path):
    for folder, name in (("a", "model.bin"), ("b", "model.bin"), ("c", "other.bin")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("x")
    assert path_digest(tmp_path / "a") == path_digest(tmp_path / "b")
    assert path_digest(tmp_path / "a") != path_digest(tmp_path / "c")


def test_initial_weights_count_by_their_content_and_those_of_a_hub_by_their_name(tmp_path: Path):
    first, again, other = (tmp_path / name for name in ("first.pt", "again.pt", "other.pt"))
    first.write_bytes(b"weights")
    again.write_bytes(b"weights")
    other.write_bytes(b"others")

    def found(source: Path | str | None) -> str:
        return content_hash({**CONFIG, "entry": "train", "initial_weights": {"encoder": source and str(source)}})

    assert found(first) == found(again)
    assert len({found(source) for source in (first, other, "hf:google-bert/bert-base-uncased", "hf:a/b", None)}) == 5


def test_initial_weights_count_alike_whether_a_part_s_name_is_written_with_dots_or_with_maps(tmp_path: Path):
    file = tmp_path / "swin.pth"
    file.write_bytes(b"weights")
    written = [{"embeddings.parser": str(file)}, {"embeddings": {"parser": str(file)}}]
    assert len({content_hash({**CONFIG, "entry": "train", "initial_weights": parts}) for parts in written}) == 1
