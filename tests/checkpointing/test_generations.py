"""The checkpoints of a run: which there are, which is good, which go."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import pytest

from tests.checkpointing.states import holds, state, written
from tests.durable.disks import cut, failing, faulty_disk, flip, full, in_child, kill, own_folder, read_only
from vlp.checkpointing.generations import Generations
from vlp.checkpointing.writer import CheckpointWriter
from vlp.durable.digests import DamagedError, sidecar
from vlp.durable.files import StorageError, remove_leftovers


def steps(generations: Generations) -> list[int]:
    return [int(path.stem.removeprefix("step-")) for path in generations.all()]


def test_checkpoints_are_listed_newest_first_and_other_files_are_not(tmp_path: Path):
    generations = written(tmp_path, 50, 12_345_678, 100)
    for name in ("step-5.ckpt", "epoch=1.ckpt", "step-0000007.ckpt.bak", ".step-0000009.ckpt.0123abcd.tmp"):
        (tmp_path / name).touch()
    (tmp_path / "step-0000008.ckpt").mkdir()
    (tmp_path / "step-0000009.ckpt").symlink_to("step-0000050.ckpt")
    assert steps(generations) == [12_345_678, 100, 50]


def test_a_folder_that_does_not_exist_has_none(tmp_path: Path):
    generations = Generations(tmp_path / "nowhere")
    assert generations.all() == []
    assert generations.newest_good() is None
    assert generations.target("last") is None


def test_the_newest_good_one_is_found_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    generations = written(tmp_path, 50, 100)
    assert generations.newest_good() == generations.path(100)
    assert caplog.messages == []


def test_damaged_ones_are_named_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    generations = written(tmp_path, 50, 100, 150)
    cut(generations.path(150), 5000)
    flip(generations.path(100), 40_000)
    assert generations.newest_good() == generations.path(50)
    assert [message.split(" is damaged")[0] for message in caplog.messages] == [
        str(generations.path(150)),
        str(generations.path(100)),
    ]
    assert all(message.endswith("; looking for an older checkpoint") for message in caplog.messages)


def test_one_that_cannot_be_read_is_named_and_passed_over(caplog: pytest.LogCaptureFixture):
    with own_folder() as folder:
        generations = written(folder, 50, 100)
        generations.path(100).chmod(0)
        with read_only(folder):
            assert generations.newest_good() == generations.path(50)
        assert caplog.messages == [
            f"[Errno 13] Permission denied: '{generations.path(100)}'; looking for an older checkpoint"
        ]


def test_where_all_are_damaged_each_is_named(tmp_path: Path):
    generations = written(tmp_path, 50, 100)
    for step in (50, 100):
        cut(generations.path(step), 0)
    with pytest.raises(DamagedError) as caught:
        generations.newest_good()
    start, first, second = str(caught.value).replace("; ", ": ").split(f"{tmp_path}/")
    assert start == f"no checkpoint in {tmp_path} is good: "
    assert first.startswith("step-0000100.ckpt is damaged: its sha256 is e3b0c442")
    assert second.startswith("step-0000050.ckpt is damaged: its sha256 is e3b0c442")


def test_one_without_its_sidecar_is_good_if_its_checksums_are(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    generations = written(tmp_path, 50, 100)
    sidecar(generations.path(100)).unlink()
    assert generations.newest_good() == generations.path(100)
    assert len(caplog.messages) == 1
    cut(generations.path(100), 9000)
    assert generations.newest_good() == generations.path(50)
    assert f"{generations.path(100)} is cut short or damaged: File is not a zip file" in caplog.text


def test_a_link_leads_to_its_target_by_a_relative_path(tmp_path: Path):
    generations = written(tmp_path / "a", 50, 100)
    generations.point("best", generations.path(50))
    assert os.readlink(tmp_path / "a" / "last.ckpt") == "step-0000100.ckpt"
    (tmp_path / "a").rename(tmp_path / "b")
    assert Generations(tmp_path / "b").target("best") == (tmp_path / "b" / "step-0000050.ckpt").resolve()


def test_a_link_that_leads_nowhere_has_no_target(tmp_path: Path):
    generations = written(tmp_path, 50)
    generations.path(50).unlink()
    assert generations.target("last") is None


def test_the_newest_are_kept_and_the_best_one(tmp_path: Path):
    generations = written(tmp_path, 50, 100, 150, 200, 250)
    generations.point("best", generations.path(100))
    (tmp_path / "mine.ckpt").touch()
    generations.prune(keep=2)
    assert steps(generations) == [250, 200, 100]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".sha256") == [
        f"step-0000{step}.ckpt.sha256" for step in (100, 200, 250)
    ]
    assert (tmp_path / "mine.ckpt").exists()


def test_those_ahead_of_the_last_one_neither_count_nor_go(tmp_path: Path):
    generations = written(tmp_path, 150, 200, 50, 100)
    generations.prune(keep=1)
    assert steps(generations) == [200, 150, 100]


def test_where_the_links_were_copied_as_files_the_newest_are_kept(tmp_path: Path):
    generations = written(tmp_path, 50, 100, 150)
    content = (tmp_path / "last.ckpt").read_bytes()
    (tmp_path / "last.ckpt").unlink()
    (tmp_path / "last.ckpt").write_bytes(content)
    generations.prune(keep=2)
    assert steps(generations) == [150, 100]
    assert (tmp_path / "last.ckpt").read_bytes() == content


def test_keeping_none_is_refused(tmp_path: Path):
    generations = written(tmp_path, 50)
    with pytest.raises(ValueError) as caught:
        generations.prune(keep=0)
    assert str(caught.value) == "keep=0: expected 1 or more"
    assert steps(generations) == [50]


def test_one_that_cannot_be_removed_is_named():
    with own_folder() as folder:
        generations = written(folder, 50, 100)
        with read_only(folder), pytest.raises(StorageError) as caught:
            generations.prune(keep=1)
        assert caught.value.filename == str(generations.path(50))
        assert steps(generations) == [100, 50]


def test_a_full_disk_costs_no_earlier_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    generations = written(tmp_path, 50, 100)
    with faulty_disk(tmp_path, 9000, full), pytest.raises(StorageError):
        CheckpointWriter().save_checkpoint(state(150), generations.path(150))
    assert generations.newest_good() == generations.path(100)
    assert all(holds(generations.path(step), step) for step in (50, 100))
    assert caplog.messages == []


def test_what_a_killed_save_leaves_is_no_checkpoint_and_can_be_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    generations = written(tmp_path, 50)

    def save() -> None:
        with failing("replace", kill, after=1):  # the sidecar is there, the checkpoint is not
            CheckpointWriter().save_checkpoint(state(100), generations.path(100))

    assert in_child(save) == -signal.SIGKILL
    assert sidecar(generations.path(100)).exists()
    with caplog.at_level(logging.WARNING):
        assert generations.newest_good() == generations.path(50)
    remove_leftovers(tmp_path)
    generations.prune(keep=1)
    assert caplog.messages == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "last.ckpt",
        "step-0000050.ckpt",
        "step-0000050.ckpt.sha256",
    ]
