"""A command that was told to stop says what happened and which command goes on."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.commands.conftest import SMALLEST, Command
from vlp.commands import app, stopped
from vlp.commands.children import SweepStopped, carry_out_in_child
from vlp.commands.plans import Plan
from vlp.commands.stopped import end_stopped, requeue, resuming_command
from vlp.durable.stopping import MAX_TIME, Stopped

SAVED = Stopped("SIGTERM", Path("a.ckpt"), 3)
SWEEP = SweepStopped("SIGTERM", Path("sweep"), ["model=uniter"], ["model=lxmert: not begun"])


@pytest.mark.parametrize(
    ("typed", "stopped", "goes_on"),
    [
        (".venv/bin/python train.py seed=1", SAVED, ".venv/bin/python train.py seed=1"),
        ("python train.py resume=never ckpt_path=a.ckpt seed=1", SAVED, "python train.py seed=1"),
        ("python train.py ++resume=never +ckpt_path=last", SAVED, "python train.py"),
        ("python train.py resume=never", Stopped("SIGTERM"), "python train.py resume=never"),
        ("python train.py ckpt_path=a.ckpt", Stopped("SIGTERM"), "python train.py ckpt_path=a.ckpt"),
        ("python probe.py force=true", Stopped("SIGTERM"), "python probe.py force=true"),
        ("python probe.py -m force=true model=uniter,lxmert", SWEEP, "python probe.py -m model=uniter,lxmert"),
    ],
)
def test_the_command_that_goes_on_is_the_one_typed_but_for_where_it_began(typed: str, stopped: Stopped, goes_on: str):
    assert resuming_command(typed.split(), stopped) == goes_on


def test_what_a_shell_would_take_apart_is_quoted():
    arguments = ["python", "probe.py", "weights={uniter: a.pt}", "hydra.run.dir=my runs"]
    assert resuming_command(arguments, SAVED) == "python probe.py 'weights={uniter: a.pt}' 'hydra.run.dir=my runs'"


def test_a_sweep_says_which_cells_are_done():
    assert str(SWEEP).splitlines() == [
        "stopped by SIGTERM: 1 of 2 cells done",
        "  done: model=uniter",
        "  not done: model=lxmert: not begun",
    ]


@pytest.mark.parametrize(("stopped", "status"), [(SAVED, 143), (Stopped(MAX_TIME, Path("a.ckpt"), 3), 0), (SWEEP, 143)])
def test_the_command_that_goes_on_is_the_last_line(
    stopped: Stopped, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "orig_argv", ["python", "train.py"])
    assert end_stopped(stopped) == status
    assert capsys.readouterr().err == f"{stopped}\npython train.py\n"


def test_a_process_that_shares_anothers_work_is_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert end_stopped(SAVED) == 0
    assert capsys.readouterr().err == ""


def scontrol(folder: Path, status: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program in place of SLURM's; return the file in which it keeps what it was asked."""
    folder.mkdir()
    program = folder / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" > {folder}/asked\necho "Invalid job id" >&2\nexit {status}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder / "asked"


def test_slurm_is_asked_to_queue_the_job_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    asked = scontrol(tmp_path / "bin", 0, monkeypatch)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setattr(sys, "orig_argv", ["python", "train.py"])
    stopped = Stopped("SIGUSR1", Path("a.ckpt"), 3)
    assert end_stopped(stopped) == 138
    assert asked.read_text() == "requeue 12\n"
    assert capsys.readouterr().err == f"{stopped}\nSLURM job 12 is queued again\npython train.py\n"


def test_a_task_of_an_array_is_queued_again_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = scontrol(tmp_path / "bin", 1, monkeypatch)
    for name, value in {"JOB_ID": "13", "ARRAY_JOB_ID": "12", "ARRAY_TASK_ID": "4"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert requeue() == "SLURM job 12_4 could not be queued again: Invalid job id"
    assert asked.read_text() == "requeue 12_4\n"


def test_a_machine_without_slurm_is_no_second_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert requeue() == "SLURM job 12 could not be queued again: scontrol: No such file or directory"


def test_a_controller_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scontrol(tmp_path / "bin", 0, monkeypatch)
    (tmp_path / "bin/scontrol").write_text("#!/bin/sh\nexec sleep 3600\n")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setattr(stopped, "PATIENCE_S", 0.1)
    assert requeue() == "SLURM job 12 could not be queued again: scontrol gave no answer in 0.1 s"


def test_a_signal_before_anything_was_done_needs_no_saving(command: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(app, "carry_out", lambda plan: os.kill(os.getpid(), signal.SIGINT))
    ended = command("train", "resume=never")
    assert ended.status == 130
    assert ended.err == ("stopped by SIGINT: nothing was under way that needs saving\npython train.py resume=never\n")


def test_a_sweep_begins_no_further_cell_and_gathers_what_is_done(command: Command, monkeypatch: pytest.MonkeyPatch):
    begun: list[str] = []

    def carry_out(plan: Plan, environment: dict[str, str]) -> Path:
        begun.append(plan.config["model"]["name"])
        folder = app.carry_out(plan)
        os.kill(os.getpid(), signal.SIGTERM)
        return folder

    monkeypatch.setattr(app, "carry_out_in_child", carry_out)
    ended = command("probe", "-m", "weights=random", *SMALLEST, "model=uniter,lxmert", "force=true")
    assert ended.status == 143
    assert begun == ["uniter"]
    *_, summary, done, left, goes_on = ended.err.splitlines()
    assert summary == "stopped by SIGTERM: 1 of 2 cells done"
    assert done.endswith("model=uniter force=True")
    assert left.endswith("model=lxmert force=True: not begun")
    assert goes_on == " ".join(["python probe.py -m weights=random", *SMALLEST, "model=uniter,lxmert"])
    (table,) = Path("outputs/sweeps").glob("*/results.csv")
    assert "uniter" in table.read_text()


def test_a_training_that_was_stopped_tells_where_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from vlp.commands import children

    def run_child(arguments: list[str], environment: dict[str, str]) -> int:
        raise Stopped("SIGTERM")

    monkeypatch.setattr(children, "run_child", run_child)
    plan = Plan("train", {}, "0" * 64, str(tmp_path), str(tmp_path), "")
    with pytest.raises(Stopped) as stopped:
        carry_out_in_child(plan, {})
    assert stopped.value.saved is None
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(Stopped) as stopped:
        carry_out_in_child(plan, {})
    assert stopped.value.saved == tmp_path / "checkpoints" / "last.ckpt"


def test_a_child_that_has_something_to_say_has_not_ended_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from vlp.commands import children

    def run_child(arguments: list[str], environment: dict[str, str]) -> int:
        (Path(arguments[2]).parent / "0.error").write_text("stopped by trainer.max_time at step 3, saved a.ckpt")
        return 0

    monkeypatch.setattr(children, "run_child", run_child)
    plan = Plan("train", {}, "0" * 64, str(tmp_path), str(tmp_path), "")
    with pytest.raises(children.CellError, match=r"^stopped by trainer.max_time at step 3, saved a.ckpt$"):
        carry_out_in_child(plan, {})
