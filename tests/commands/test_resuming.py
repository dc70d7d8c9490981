"""Where a training begins: what is asked for, what is there, and whose it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from vlp.checkpointing import CheckpointWriter, Generations
from vlp.commands.identity import content_hash
from vlp.commands.resuming import Start, find_start
from vlp.durable.digests import DamagedError, check_digest

CONFIG: dict[str, Any] = {"entry": "train", "seed": 0, "resume": "auto", "ckpt_path": None}
KEPT = {"rows": 20, "world_size": 1, "best": {}, "monitor": None, "mode": "min"}


def config(**changes: Any) -> dict[str, Any]:
    return {**CONFIG, **changes}


def checkpoint(run_dir: Path, step: int, best: int | None = None, **changes: Any) -> Path:
    """Write what a training of `CONFIG` would have at ``step``."""
    kept = {"rows": 10 * step, "best": {"value": 1.0, "step": best} if best else {}, "world_size": 1}
    contents = {
        "pytorch-lightning_version": "2.6.6",
        "epoch": 0,
        "global_step": step,
        "state_dict": {"weight": torch.full((2,), float(step))},
        "optimizer_states": [],
        "lr_schedulers": [],
        "loops": {"fit_loop": {}},
        "callbacks": {"SaveCheckpoints": {**kept, "monitor": "val/loss", "mode": "min"}},
        "vlp": {"config_hash": content_hash(config(**changes))},
    }
    path = Generations(run_dir / "checkpoints").path(step)
    CheckpointWriter().save_checkpoint(contents, path)
    return path


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_an_empty_folder_begins_anew(tmp_path: Path):
    assert find_start(config(), tmp_path) == Start()


def test_the_newest_checkpoint_is_gone_on_from(tmp_path: Path):
    checkpoint(tmp_path, 2)
    newest = checkpoint(tmp_path, 4)
    assert find_start(config(), tmp_path) == Start(newest, rows=40)
    assert find_start(config(ckpt_path="last"), tmp_path) == Start(newest, rows=40)


def test_a_damaged_one_is_named_and_the_one_before_it_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    good, bad = checkpoint(tmp_path, 2), checkpoint(tmp_path, 4)
    damage(bad)
    assert find_start(config(), tmp_path) == Start(good, rows=20)
    assert f"{bad} is damaged" in caplog.text
    assert Generations(tmp_path / "checkpoints").target("last") == good


def test_where_all_are_damaged_nothing_is_begun_anew(tmp_path: Path):
    bad = checkpoint(tmp_path, 2)
    damage(bad)
    with pytest.raises(DamagedError) as error:
        find_start(config(), tmp_path)
    assert str(bad) in str(error.value)
    assert bad.exists()


def test_names_lead_where_they_did_when_a_kill_came_before_they_were_set(tmp_path: Path):
    generations = Generations(tmp_path / "checkpoints")
    best = checkpoint(tmp_path, 2)
    newest = checkpoint(tmp_path, 4, best=2)
    find_start(config(), tmp_path)
    assert (generations.target("last"), generations.target("best")) == (newest, best)


def test_the_best_can_be_gone_on_from(tmp_path: Path):
    best = checkpoint(tmp_path, 2)
    checkpoint(tmp_path, 4, best=2)
    find_start(config(), tmp_path)
    assert find_start(config(ckpt_path="best"), tmp_path) == Start(best, rows=20)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path):
    checkpoint(tmp_path, 2, seed=1)
    there, here = content_hash(config(seed=1))[:12], content_hash(config())[:12]
    with pytest.raises(ValueError) as error:
        find_start(config(), tmp_path)
    assert str(error.value) == (
        f"{tmp_path} holds a checkpoint of another configuration ({there}, this one is {here}): "
        "give another hydra.run.dir, or resume=never"
    )


def test_one_of_another_configuration_named_by_its_path_is_taken_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    other = checkpoint(tmp_path / "other", 2, seed=1)
    assert find_start(config(ckpt_path=str(other)), tmp_path / "run") == Start(other)
    assert "is of another configuration" in caplog.text


@pytest.mark.parametrize("asked", ["last", "best", "lost.ckpt"])
def test_a_checkpoint_that_is_not_there_is_named(asked: str, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=rf"^ckpt_path={asked}: there is no such checkpoint "):
        find_start(config(ckpt_path=asked), tmp_path)


def test_what_is_no_checkpoint_of_a_training_is_named_before_anything_is_moved(tmp_path: Path):
    good = checkpoint(tmp_path, 2)
    path = tmp_path / "weights.ckpt"
    CheckpointWriter().save_checkpoint({"state_dict": {}}, path)
    with pytest.raises(ValueError) as error:
        find_start(config(ckpt_path=str(path)), tmp_path)
    assert str(error.value) == f"{path} is no checkpoint of a training here; weights=PATH of probe.py reads others"
    assert find_start(config(), tmp_path) == Start(good, rows=20)


@pytest.mark.parametrize(
    ("change", "lacking"),
    [
        ({"callbacks": {"SaveCheckpoints": {"rows": 20, "world_size": 1, "best": {}}}}, "monitor is missing"),
        ({"callbacks": {"SaveCheckpoints": {**KEPT, "best": {"value": 1.0}}}}, "best.step is missing"),
        ({"callbacks": {"SaveCheckpoints": {**KEPT, "rows": "20"}}}, "rows is of type str, expected int"),
        ({"callbacks": {"SaveCheckpoints": 20}}, "SaveCheckpoints is of type int, expected a mapping"),
        ({"loops": {}}, "loops.fit_loop is missing"),
        ({"state_dict": 3}, "state_dict is of type int, expected Mapping"),
    ],
)
def test_one_of_another_structure_is_named_with_what_it_lacks(change: dict[str, Any], lacking: str, tmp_path: Path):
    path = checkpoint(tmp_path, 2)
    CheckpointWriter().save_checkpoint({**torch.load(path, weights_only=True), **change}, path)
    with pytest.raises(DamagedError) as error:
        find_start(config(), tmp_path)
    assert str(error.value).startswith(f"{path} is damaged or of another version: ")
    assert str(error.value).endswith(
        f"{lacking}, and without it no training goes on; delete the file, or begin anew with resume=never"
    )
    assert find_start(config(resume="never"), tmp_path) == Start()


def test_going_back_sets_aside_what_came_later(tmp_path: Path):
    early, late = checkpoint(tmp_path, 2), checkpoint(tmp_path, 4)
    (tmp_path / "metrics.csv").write_text("curve")
    assert find_start(config(ckpt_path=str(early)), tmp_path) == Start(early, rows=20)
    assert find_start(config(), tmp_path) == Start(early, rows=20)
    aside = tmp_path / "earlier" / "1"
    assert [path.name for path in Generations(aside / "checkpoints").all()] == [late.name]
    assert check_digest(aside / "checkpoints" / late.name)
    assert (aside / "metrics.csv").read_text() == "curve"


def test_beginning_anew_sets_the_earlier_training_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for number in (1, 2):
        checkpoint(tmp_path, 2)
        (tmp_path / "metrics.csv").write_text(str(number))
        assert find_start(config(resume="never"), tmp_path) == Start()
        assert list((tmp_path / "checkpoints").iterdir()) == []
    assert [(tmp_path / "earlier" / n / "metrics.csv").read_text() for n in ("1", "2")] == ["1", "2"]
    assert (tmp_path / "earlier" / "1" / "checkpoints" / "step-0000002.ckpt").is_file()
    assert f"{tmp_path} held an earlier training, which is in {tmp_path / 'earlier' / '2'} now" in caplog.messages


def test_a_job_that_slurm_queued_again_goes_on_whatever_its_command_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    newest = checkpoint(tmp_path, 2)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert find_start(config(resume="never"), tmp_path) == Start(newest, rows=20)
