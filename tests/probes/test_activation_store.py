"""Activations on disk: what is written is what is read, and what was lost is told."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.durable.disks import cut, flip
from vlp.durable.files import StorageError
from vlp.probes.activation_store import ActivationStore, DiskStore, MemoryStore

SHAPES = {"attention": (2, 3), "states": (5,)}
BOUNDS = (0, 4, 5, 9)


def arrays(shard: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(shard)
    rows = BOUNDS[shard + 1] - BOUNDS[shard]
    return {name: generator.random((rows, *shape), dtype=np.float32) for name, shape in SHAPES.items()}


def disk(root: Path, **content: object) -> DiskStore:
    return DiskStore(root, {"weights": "abc", **content}, SHAPES, BOUNDS)


def store(kind: str, root: Path) -> ActivationStore:
    return MemoryStore(SHAPES, BOUNDS) if kind == "memory" else disk(root)


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_what_is_written_in_any_order_is_read(kind: str, tmp_path: Path):
    kept = store(kind, tmp_path)
    assert kept.missing == {0, 1, 2}
    for shard in (2, 0, 1):
        kept.write(shard, arrays(shard))
    assert kept.missing == set()
    for name, tensor in kept.tensors().items():
        assert torch.equal(tensor, torch.from_numpy(np.concatenate([arrays(shard)[name] for shard in range(3)])))


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_rows_of_another_shape_are_refused(kind: str, tmp_path: Path):
    with pytest.raises(ValueError, match=r"^shard 1 of activations has shapes \{'attention': \(4, 2, 3\), "):
        store(kind, tmp_path).write(1, arrays(0))


def test_size_is_bytes_of_all_arrays(tmp_path: Path):
    assert store("disk", tmp_path).size == store("memory", tmp_path).size == 9 * (6 + 5) * 4


def test_another_process_finds_the_finished_shards(tmp_path: Path):
    disk(tmp_path).write(0, arrays(0))
    again = disk(tmp_path)
    assert again.missing == {1, 2}
    again.write(2, arrays(2))
    again.write(1, arrays(1))
    assert disk(tmp_path).missing == set()


def test_a_folder_is_the_content(tmp_path: Path):
    first = disk(tmp_path)
    assert disk(tmp_path).folder == first.folder
    others = [disk(tmp_path, weights="abd"), disk(tmp_path, split="val"), DiskStore(tmp_path, {}, SHAPES, (0, 9))]
    assert len({first.folder, *(other.folder for other in others)}) == 4


def test_the_manifest_says_what_it_is_of(tmp_path: Path):
    kept = disk(tmp_path)
    kept.write(0, arrays(0))
    manifest = json.loads((kept.folder / "manifest.json").read_text())
    assert manifest["weights"] == "abc"
    assert manifest["bytes"] == kept.size
    assert manifest["bounds"] == list(BOUNDS)


def test_rows_that_are_not_what_was_written_are_told_and_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    kept = disk(tmp_path)
    for shard in range(3):
        kept.write(shard, arrays(shard))
    path = kept.folder / "states.npy"
    content = bytearray(path.read_bytes())
    content[-30] ^= 1  # in the last shard
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert disk(tmp_path).missing == {2}
    assert "vouches for other rows than are there; they are made again" in caplog.text


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: cut(path, 0),
        lambda path: cut(path, path.stat().st_size - 1),
        lambda path: flip(path, 0),
    ],
    ids=["removed", "emptied", "cut short", "another head"],
)
def test_an_array_that_cannot_be_read_is_told_and_made_again(
    damage: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    kept = disk(tmp_path)
    for shard in range(3):
        kept.write(shard, arrays(shard))
    damage(kept.folder / "states.npy")
    again = disk(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert again.missing == {0, 1, 2}
    assert f"the rows that {kept.folder / 'shards' / '000002.sha256'} vouches for cannot be read (" in caplog.text
    for shard in range(3):
        again.write(shard, arrays(shard))
    assert disk(tmp_path).missing == set()
    for name, tensor in again.tensors().items():
        assert torch.equal(tensor, torch.from_numpy(np.concatenate([arrays(shard)[name] for shard in range(3)])))


def test_where_nothing_vouches_for_rows_any_more_they_are_made_again(tmp_path: Path):
    kept = disk(tmp_path)
    for shard in range(3):
        kept.write(shard, arrays(shard))
    shutil.rmtree(kept.folder / "shards")
    again = disk(tmp_path)
    assert again.missing == {0, 1, 2}
    again.write(1, arrays(1))
    assert disk(tmp_path).missing == {0, 2}


def test_a_kill_before_the_files_are_laid_out_leaves_nothing_that_counts(tmp_path: Path):
    kept = disk(tmp_path)
    (kept.folder / "shards").mkdir(parents=True)
    (kept.folder / "attention.npy").write_bytes(b"half a head")
    assert kept.missing == {0, 1, 2}
    kept.write(1, arrays(1))
    assert disk(tmp_path).missing == {0, 2}


def test_a_full_disk_is_named_before_anything_is_read_from_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match=r"attention\.npy cannot be written: No space left on device \(ENOSPC\)"):
        disk(tmp_path).write(0, arrays(0))
    monkeypatch.undo()
    kept = disk(tmp_path)
    assert kept.missing == {0, 1, 2}
    kept.write(0, arrays(0))
    assert kept.missing == {1, 2}


def test_reading_maps_the_file_and_changes_nothing_on_disk(tmp_path: Path):
    kept = disk(tmp_path)
    for shard in range(3):
        kept.write(shard, arrays(shard))
    tensor = kept.tensors()["states"]
    tensor += 1
    assert disk(tmp_path).missing == set()


def test_what_killed_writers_left_goes_when_the_key_is_held(tmp_path: Path):
    kept = disk(tmp_path)
    kept.write(0, arrays(0))
    left = [kept.folder / ".manifest.json.0123abcd.tmp", kept.folder / "shards" / ".000001.sha256.0123abcd.tmp"]
    for path in left:
        path.write_text("half")
    with pytest.raises(OSError, match=r"^of something else$"), kept.held():
        raise OSError("of something else")
    assert not any(path.exists() for path in left)
    assert disk(tmp_path).missing == {1, 2}
