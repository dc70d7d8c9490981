"""What is shown of a sweep's cells while it runs, and what it leaves."""

from __future__ import annotations

import io
import os
import re
import signal
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from tests.commands.conftest import SMALLEST, Command
from vlp.commands import app
from vlp.commands.processes import OUTPUT, Running, run_child
from vlp.commands.progress import Board, Cell, State, distinct, duration, noting_cell, showing, summary
from vlp.commands.views import Lines, LiveTable, last_words, table_of, viewing
from vlp.results import read_results

NAMES = ("model=uniter", "model=lxmert", "model=visualbert", "model=vilt")


def board(*cells: Cell) -> Board:
    made = Board(Path("nowhere"), NAMES[: len(cells)])
    made.cells = list(cells)
    return made


def test_a_note_says_what_becomes_of_a_cell(tmp_path: Path):
    sweep, cells = Running(tmp_path), Board(tmp_path, NAMES)
    assert cells.read() == []
    with noting_cell(sweep, 0, tmp_path / "0.log"):
        assert cells.read() == [0]
        assert cells.cells[0].state is State.RUNNING
    with noting_cell(sweep, 1, tmp_path / "1.log") as note:
        note.outcome = State.WAS_DONE
    with pytest.raises(ValueError, match="too small"), noting_cell(sweep, 2, tmp_path / "2.log"):
        raise ValueError("it is too small")
    sweep.stop(signal.SIGTERM)
    with pytest.raises(SystemExit), noting_cell(sweep, 3, tmp_path / "3.log"):
        raise SystemExit
    assert cells.read() == [0, 1, 2, 3]
    assert [cell.state for cell in cells.cells] == [State.DONE, State.WAS_DONE, State.FAILED, State.STOPPED]
    assert (cells.cells[2].error, cells.cells[2].log) == ("it is too small", str(tmp_path / "2.log"))
    assert cells.read() == []


def test_a_cell_on_another_machine_leaves_no_note(tmp_path: Path):
    with noting_cell(None, 0, tmp_path / "0.log") as note:
        assert note.cell.state is State.RUNNING
    assert list(tmp_path.iterdir()) == []


def test_the_time_left_is_the_mean_of_cells_done_over_those_at_once():
    done, found = Cell(State.DONE, began=100, ended=110), Cell(State.WAS_DONE, began=100, ended=100.5)
    assert board(found, Cell(State.RUNNING, began=110), Cell()).remaining_s(now=112) is None
    one = board(done, found, Cell(State.RUNNING, began=110), Cell())
    assert one.remaining_s(now=114) == pytest.approx(6 + 10)
    one.at_once = 2
    assert one.remaining_s(now=114) == pytest.approx((6 + 10) / 2)
    assert one.remaining_s(now=200) == pytest.approx((0 + 10) / 2)  # it takes longer than the others did
    assert board(done, found).remaining_s(now=114) is None


def test_the_summary_counts_cells_by_what_became_of_them():
    done = Cell(State.DONE, began=100, ended=190)
    failed = Cell(State.FAILED, began=100, ended=101)
    assert summary(board(done, done, failed, Cell()), now=200) == "2 of 4 cells done, 1 failed, about 1 min 30 s left"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_are_words(seconds: float, words: str):
    assert duration(seconds) == words


def test_a_cell_is_called_by_what_only_it_has():
    assert distinct([["seed=0", "model=a"], ["seed=0", "model=b"]]) == ["model=a", "model=b"]
    assert distinct([["seed=0"], ["seed=0"]]) == ["seed=0", "seed=0"]
    assert distinct([["seed=0", "model=a"]]) == ["seed=0 model=a"]
    assert distinct([[]]) == ["the only cell"]
    assert distinct([["name=\x1b[31m"], ["name=b"]])[0] == r"name=\x1b[31m"


def test_where_stderr_is_no_terminal_each_change_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sweep, log = Running(tmp_path), tmp_path / "job.log"
    with viewing() as view, showing(tmp_path, NAMES[:2], view):
        assert isinstance(view, Lines)
        with noting_cell(sweep, 0, log):
            log.write_text("[now][vlp][INFO] - 9 pairs\n[now][vlp][WARNING] - trains \x1b[2J first\n[now][vlp][WARNING")
        with pytest.raises(ValueError, match="no"), noting_cell(sweep, 1, tmp_path / "other.log"):
            raise ValueError("no\nboxes")
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if " runs" not in line] == [
        r"cell 1: trains \x1b[2J first",
        "cell 1 of 2 done in 0 s: model=uniter (1 of 2 cells done, 1 failed)",
        rf"cell 2 of 2 failed after 0 s: model=lxmert: no\nboxes (log: {tmp_path / 'other.log'})"
        " (1 of 2 cells done, 1 failed)",
    ]


def test_the_table_shows_each_cell_and_what_it_last_said(tmp_path: Path):
    log = tmp_path / "job.log"
    log.write_text("[now][vlp][INFO] - first\nstep 1\rstep 2 [red]\n\n")
    cells = board(Cell(State.DONE, began=100, ended=103), Cell(State.RUNNING, str(log), began=103), Cell())
    console = Console(file=io.StringIO(), width=100, height=40)
    console.print(table_of(cells, 105, console))
    shown = [line.split() for line in console.file.getvalue().splitlines() if "model=" in line]  # type: ignore[attr-defined]
    assert shown == [
        ["1", "model=uniter", "done", "3", "s"],
        ["2", "model=lxmert", "running", "2", "s", "step", "2", "[red]"],
        ["3", "model=visualbert", "waiting"],
    ]
    assert "1 of 3 cells done, about 4 s left" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_long_error_leaves_the_other_columns_their_room_and_stands_whole_above_the_table():
    why = " ".join(["expected layers in which text and vision meet"] * 5)
    cells = board(Cell(State.FAILED, "job.log", began=100, ended=103, error=why), Cell(State.RUNNING, began=103))
    console = Console(file=io.StringIO(), width=80, height=40, force_terminal=True, color_system=None)
    with Live(console=console, auto_refresh=False) as live:
        LiveTable(live).show(cells, [0])
    told, _, shown = console.file.getvalue().partition("last words")  # type: ignore[attr-defined]
    assert f"cell 1 of 2 failed after 3 s: model=uniter: {why} (log: job.log)" in " ".join(told.split())
    assert re.search(r"1 +model=uniter +failed +3 s +expected layers", shown)


def test_a_table_without_room_shows_what_runs_and_what_failed():
    states = [State.DONE] * 40 + [State.FAILED, State.RUNNING] + [State.WAITING] * 40
    cells = Board(Path("nowhere"), [f"seed={seed}" for seed in range(len(states))])
    cells.cells = [Cell(state) for state in states]
    console = Console(file=io.StringIO(), width=100, height=8)
    console.print(table_of(cells, 0, console))
    shown = [line.split()[1] for line in console.file.getvalue().splitlines() if "seed=" in line]  # type: ignore[attr-defined]
    assert shown == ["seed=40", "seed=41", "seed=42"]


def test_last_words_of_a_log_that_is_not_there_are_none(tmp_path: Path):
    assert last_words(tmp_path / "none.log") == ""


def test_what_a_child_prints_is_added_to_its_log(tmp_path: Path):
    log = tmp_path / "job.log"
    log.write_text("before\n")
    program = "import sys; print('out', flush=True); sys.stderr.write('err\\n')"
    assert run_child(["-c", program], {**os.environ, OUTPUT: str(log)}) == 0
    assert log.read_text() == "before\nout\nerr\n"


def test_a_sweep_tells_of_its_cells_and_ends_with_scoreboard_table_and_report(command: Command, in_process: None):
    arguments = ("-m", "weights=random", *SMALLEST, "model=uniter,bert")
    done = command("probe", *arguments)
    assert "cell 1 of 2 done in " in done.err
    assert "cell 2 of 2 failed after " in done.err
    assert "model=bert: probe nmi cannot be put to model bert" in done.err
    assert "[HYDRA]" not in done.out
    (sweep,) = Path("outputs/sweeps").iterdir()
    assert "Scoreboard" in done.out
    assert done.out.splitlines()[-2:] == [
        f"results: {sweep / 'results.csv'}",
        f"report: {sweep / 'report/report.html'}",
    ]
    assert (sweep / "report" / "report.html").read_text().startswith("<!doctype html>")
    assert "cell 1 of 2 was done: model=uniter" in command("probe", *arguments).err


def test_the_table_of_a_sweep_holds_a_cell_as_soon_as_it_is_done(
    command: Command, in_process: None, monkeypatch: pytest.MonkeyPatch
):
    tables: list[set[str]] = []
    carry_out = app.carry_out_in_child

    def look(plan: app.Plan, environment: dict[str, str]) -> Path:
        table = Path(plan.run_dir) / "results.csv"
        tables.append({record.model for record in read_results(table)} if table.exists() else set())
        assert Path(environment[OUTPUT]).name == "probe.log"
        return carry_out(plan, environment)

    monkeypatch.setattr(app, "carry_out_in_child", look)
    command("probe", "-m", "weights=random", *SMALLEST, "model=uniter,lxmert")
    assert tables == [set(), {"uniter"}]


DYING = """
import json, os, signal, sys

plan = json.load(open(sys.argv[1]))
match plan["config"]["model"]["name"]:
    case "lxmert":
        sys.exit(3)
    case "visualbert":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_cell_that_exits_and_one_that_is_killed_are_named(command: Command, monkeypatch: pytest.MonkeyPatch):
    from vlp.commands import children

    def start(arguments: list[str], environment: dict[str, str]) -> int:
        return run_child(["-c", DYING, arguments[2]], environment)

    monkeypatch.setattr(children, "run_child", start)
    done = command("probe", "-m", "weights=random", *SMALLEST, "model=lxmert,visualbert")
    assert done.status == 1
    assert "error: 2 of 2 cells failed:\n" in done.err
    assert done.err.splitlines()[-2].endswith("model=lxmert: its process ended with status 3")
    assert done.error.endswith("model=visualbert: its process ended with status -9")
