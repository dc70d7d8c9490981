"""Which checkpoints there are at which time, and what makes a run stop."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from tests.checkpointing.recorder import EPOCH, Data, Recorder, fit, saving
from vlp.checkpointing import check_kept, metrics_file, writer
from vlp.durable import stopping
from vlp.durable.digests import DamagedError
from vlp.durable.files import StorageError
from vlp.durable.stopping import Stopped

pytestmark = [
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended"),
    pytest.mark.usefixtures("own_handlers"),
]


class At(pl.Callback):
    """Does something at a batch.

    Args:
        hook: ``train`` or ``validation``.
        batch: how many batches of that kind come before.
        action: what is done.
    """

    def __init__(self, hook: str, batch: int, action: Any) -> None:
        self.hook, self.left, self.action = hook, batch, action

    def _count(self, hook: str) -> None:
        if hook == self.hook:
            self.left -= 1
            if self.left == -1:
                self.action()

    def on_train_batch_start(self, *args: object) -> None:
        self._count("train")

    def on_validation_batch_start(self, *args: object) -> None:
        self._count("validation")


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def there(run_dir: Path) -> set[str]:
    return {path.name for path in (run_dir / "checkpoints").glob("*.ckpt")}


def target(run_dir: Path, name: str) -> str:
    return (run_dir / "checkpoints" / f"{name}.ckpt").resolve().name


def stopped(run_dir: Path, *callbacks: pl.Callback, **options: Any) -> Stopped:
    with pytest.raises(Stopped) as raised, stopping.deferring():
        fit(Data(), saving(run_dir, every_n_steps=100), *callbacks, **options)
    return raised.value


def test_the_last_ones_stay_and_the_best(tmp_path: Path):
    fit(Data(), saving(tmp_path), module=Recorder(losses=(1.0, 2.0)))
    assert there(tmp_path) == {"step-0000003.ckpt", "step-0000006.ckpt", "step-0000008.ckpt", "last.ckpt", "best.ckpt"}
    assert target(tmp_path, "last") == "step-0000008.ckpt"
    assert target(tmp_path, "best") == "step-0000003.ckpt"


def test_the_best_is_the_highest_where_that_was_said(tmp_path: Path):
    fit(Data(), saving(tmp_path, mode="max"), module=Recorder(losses=(1.0, 2.0)))
    assert target(tmp_path, "best") == "step-0000006.ckpt"


def test_what_is_no_number_is_never_the_best(tmp_path: Path):
    fit(Data(), saving(tmp_path), module=Recorder(losses=(float("nan"), 2.0)))
    assert target(tmp_path, "best") == "step-0000006.ckpt"


def test_what_was_best_by_another_measure_is_not_the_best(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    fit(Data(), saving(tmp_path), module=Recorder(losses=(1.0, 2.0)))
    resume = tmp_path / "checkpoints" / "step-0000006.ckpt"
    fit(Data(), saving(tmp_path, mode="max"), module=Recorder(losses=(1.5,)), resume=resume)
    assert "which checkpoint is best is found anew: it was min of val/loss" in caplog.messages
    assert target(tmp_path, "best") == "step-0000006.ckpt"


def test_without_a_monitor_there_is_no_best(tmp_path: Path):
    fit(Data(), saving(tmp_path, monitor=None))
    assert there(tmp_path) == {"step-0000006.ckpt", "step-0000008.ckpt", "last.ckpt"}


def test_a_monitor_that_nothing_logs_is_named_with_what_there_is(tmp_path: Path):
    with pytest.raises(ValueError) as error:
        fit(Data(), saving(tmp_path, monitor="val/lss"))
    assert str(error.value) == "checkpoint.monitor=val/lss: no validation gives that; they give val/loss"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0}, "checkpoint.keep=0: expected 1 or more"),
        ({"every_n_steps": 0}, "checkpoint.every_n_steps=0: expected 1 or more"),
        ({"mode": "lowest"}, "checkpoint.mode='lowest': expected min or max"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(ValueError) as error:
        saving(tmp_path, **options)
    assert str(error.value) == message


def test_a_signal_saves_the_step_that_was_under_way(tmp_path: Path):
    end = stopped(tmp_path, At("train", 4, terminate))
    assert (end.reason, end.step, end.status) == ("SIGTERM", 5, 143)
    assert end.saved == tmp_path / "checkpoints" / "step-0000005.ckpt"
    assert target(tmp_path, "last") == "step-0000005.ckpt"


@pytest.mark.parametrize(("hook", "batch", "step"), [("train", 4, 5), ("train", EPOCH - 1, 6), ("validation", 1, 3)])
def test_what_a_signal_stopped_goes_on_as_if_it_had_not(hook: str, batch: int, step: int, tmp_path: Path):
    whole = fit(Data(), saving(tmp_path / "whole"))
    end = stopped(tmp_path / "run", At(hook, batch, terminate))
    assert end.step == step
    stopping._state.noted = None
    assert end.saved is not None
    rows = torch.load(end.saved, weights_only=True)["callbacks"]["SaveCheckpoints"]["rows"]
    assert fit(Data(), saving(tmp_path / "run", rows=rows), resume=end.saved) == whole[step:]
    assert (tmp_path / "run" / "metrics.csv").read_text() == (tmp_path / "whole" / "metrics.csv").read_text()


def test_a_signal_between_accumulated_batches_saves_the_step_before_them(tmp_path: Path):
    options = {"accumulate_grad_batches": 2, "max_steps": 4}
    whole = fit(Data(), saving(tmp_path / "whole"), **options)
    end = stopped(tmp_path / "run", At("train", 4, terminate), **options)  # the fifth batch begins the third step
    assert end.step == 2
    stopping._state.noted = None
    assert fit(Data(), saving(tmp_path / "run"), resume=end.saved, **options) == whole[4:]


def test_before_the_first_step_there_is_nothing_to_save(tmp_path: Path):
    end = stopped(tmp_path, At("train", 0, terminate), accumulate_grad_batches=3)
    assert (end.saved, there(tmp_path)) == (None, set())


def test_a_signal_in_the_last_step_lets_it_finish(tmp_path: Path):
    end = stopped(tmp_path, At("train", 7, terminate))
    assert (end.saved, end.step) == (tmp_path / "checkpoints" / "step-0000008.ckpt", 8)
    assert target(tmp_path, "last") == "step-0000008.ckpt"


def test_time_that_is_up_stops_with_status_0_and_begins_anew_in_the_next_run(tmp_path: Path):
    end = stopped(tmp_path, max_time={"microseconds": 1})
    assert (end.reason, end.status, end.step) == ("trainer.max_time", 0, 1)
    stopping._state.noted = None
    assert len(fit(Data(), saving(tmp_path), resume=end.saved, max_time={"minutes": 5})) == 7


def test_no_time_at_all_is_not_taken_for_the_end_of_training(tmp_path: Path):
    end = stopped(tmp_path, max_time={"seconds": 0})
    assert (end.reason, end.saved) == ("trainer.max_time", None)


def test_a_checkpoint_of_other_processes_is_refused(tmp_path: Path):
    fit(Data(), saving(tmp_path))
    path = tmp_path / "checkpoints" / "step-0000006.ckpt"
    contents = torch.load(path, weights_only=True)
    contents["callbacks"]["SaveCheckpoints"]["world_size"] = 2
    other = tmp_path / "other.ckpt"
    torch.save(contents, other)
    with pytest.raises(ValueError) as error:
        fit(Data(), saving(tmp_path / "run"), resume=other)
    assert str(error.value) == (f"{other} was written by 2 process(es), this run has 1: give as many devices")


def test_counters_that_are_not_those_of_the_loops_are_refused_by_name(tmp_path: Path):
    fit(Data(), saving(tmp_path))
    contents = torch.load(tmp_path / "checkpoints" / "step-0000006.ckpt", weights_only=True)
    assert check_kept(contents, tmp_path)["rows"] > 0
    del contents["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"]
    other = tmp_path / "other.ckpt"
    torch.save(contents, other)
    with pytest.raises(DamagedError) as error:
        fit(Data(), saving(tmp_path / "run"), resume=other)
    assert str(error.value).startswith(f"{other} is damaged or of another version: ")
    assert "loops.fit_loop.epoch_loop.batch_progress.current.ready is missing" in str(error.value)


def full(*_: object) -> None:
    """Be a disk that takes nothing more."""
    raise StorageError(28, "disk /data is full")


def test_a_full_disk_stops_the_run_and_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(StorageError) as error:
        fit(Data(), saving(tmp_path), At("train", 4, lambda: monkeypatch.setattr(writer, "replacing", full)))
    assert str(error.value) == "disk /data is full"
    assert target(tmp_path, "last") == "step-0000004.ckpt"


def test_a_run_told_to_goes_on_over_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    places = [(writer, "replacing"), (metrics_file, "write_text"), (metrics_file, "append")]
    with monkeypatch.context() as until:
        spoil = At("train", 2, lambda: [until.setattr(*place, full) for place in places])
        mend = At("train", 6, until.undo)
        seen = fit(Data(), saving(tmp_path, on_error="continue"), spoil, mend)
    assert len(seen) == 8
    assert there(tmp_path) == {"step-0000002.ckpt", "step-0000008.ckpt", "last.ckpt"}
    assert [row["step"] for row in metrics_file.read_rows(tmp_path / "metrics.csv")] == ["2", "5"]


def test_a_signal_that_finds_the_disk_full_does_not_say_that_it_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def spoil() -> None:
        monkeypatch.setattr(writer, "replacing", full)
        terminate()

    with pytest.raises(StorageError), stopping.deferring():
        fit(Data(), saving(tmp_path, on_error="continue"), At("train", 4, spoil))
    assert target(tmp_path, "last") == "step-0000004.ckpt"


def test_a_checkpoint_that_was_not_written_is_not_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    options = {"accumulate_grad_batches": 2, "max_steps": 4}
    with monkeypatch.context() as until:
        spoil = At("train", 3, lambda: until.setattr(writer, "replacing", full))
        mend = At("train", 4, until.undo)  # in the middle of the third step
        callbacks = (saving(tmp_path, on_error="continue", monitor=None), spoil, mend, At("train", 4, terminate))
        with pytest.raises(Stopped) as raised, stopping.deferring():
            fit(Data(), *callbacks, **options)
    assert raised.value.saved is not None
    assert raised.value.saved.is_file()
    assert raised.value.step == 2
