"""The command, its sweeps taken from it: what it starts, what it says, how it ends."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.published.samples import VALUES, cell, subject
from vlp.durable.stopping import Stopped
from vlp.published import Artefact, load
from vlp.reproduce import __main__ as reproducing
from vlp.reproduce.naming import request
from vlp.results import write_records

ALL_CELLS = [(probe, prober, model) for probe, prober in VALUES for model in ("uniter", "lxmert")]

BOTH_SIDES = [("vcd", "attention", "uniter"), ("vcc", "attention", "uniter")]
"""Of claim V6, which no fewer cells can test."""

Cell = tuple[str, str, str]
Started = tuple[str, Path, list[str]]
Sweep = Callable[..., list[Started]]


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch, in_temporary_folder: Path) -> Sweep:
    """Return a function that has sweeps finish some cells, and gives the list of those that were started."""

    def prepare(
        cells: Sequence[tuple[str, str, str]] = ALL_CELLS, status: int = 0
    ) -> list[tuple[str, Path, list[str]]]:
        started: list[tuple[str, Path, list[str]]] = []

        def measure(artefact: Artefact, folder: Path, overrides: Sequence[str]) -> int:
            started.append((artefact.name, folder, list(overrides)))
            for probe, prober, model in cells:
                home = folder / "cells" / f"{probe}-{prober}-{model}"
                home.mkdir(parents=True, exist_ok=True)
                write_records(home / "results.csv", cell(subject(probe, prober, model), VALUES[probe, prober]))
                (home / "run.json").write_text(json.dumps({"command": "python probe.py", "finished": True}))
            return status

        monkeypatch.setattr(reproducing, "measure", measure)
        return started

    monkeypatch.setattr(reproducing.stopping, "install", lambda: None)
    return prepare


def test_one_artefact_is_measured_and_reported_beside_the_printed_numbers(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
):
    started = sweep(BOTH_SIDES)
    assert reproducing.main(["value/table3", "seed=1", "out=mine", "dataset.size=64"]) == 0
    assert started == [("value/table3", Path("mine"), ["seed=1", "dataset.size=64"])]
    printed = " ".join(capsys.readouterr().out.split())
    assert "value/table3 partly: 2 of 8 cells" in printed
    assert "52.04 | 54.00" in printed
    assert "V6 Heads together recover the type of a link, hardly its existence: not testable here. " in printed
    assert "2 of 14 comparisons measured" in printed
    assert "report: mine/report/report.html" in printed
    page = Path("mine/report/report.html").read_text("utf-8")
    assert "144 Attention Heads" in page


def test_the_table_beside_the_report_has_the_printed_heads_in_their_order(sweep: Sweep):
    sweep(ALL_CELLS[:1])
    reproducing.main(["value/table3", "out=mine"])
    with Path("mine/report/value_table3.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    printed = load("value/table3").cells
    assert [(line["row"], line["column"], line["printed"]) for line in lines] == [
        (cell.row, cell.column, cell.text) for cell in printed
    ]
    attention = lines[0]
    assert float(attention["ours"]) == pytest.approx(54.0)
    assert [attention[name] for name in ("n", "seeds", "prober_seeds", "dataset")] == ["400", "1", "2", "scenes"]


def test_a_cell_that_fails_is_told_by_the_status_and_what_is_there_is_reported(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
):
    sweep(ALL_CELLS[:3], status=1)
    assert reproducing.main(["value/table3", "out=mine"]) == 1
    said = capsys.readouterr()
    assert "partly: 3 of 8 cells" in said.out
    assert "cells failed, so these are not whole: value/table3" in said.err
    assert Path("mine/report/report.html").is_file()


def test_without_a_finished_cell_there_is_no_report(sweep: Sweep, capsys: pytest.CaptureFixture[str]):
    sweep([], status=1)
    assert reproducing.main(["value/table3", "out=mine"]) == 1
    assert "missing: 8 cells" in capsys.readouterr().out
    assert not Path("mine").exists()


def test_of_a_paper_everything_with_an_experiment_is_measured_and_the_rest_named(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
):
    started = sweep(ALL_CELLS[:1])
    assert reproducing.main(["value", "out=mine"]) == 0
    assert [(name, folder) for name, folder, _ in started] == [("value/table3", Path("mine/table3"))]
    assert "not here yet, no experiment yet: value/figure3, " in capsys.readouterr().out
    assert Path("mine/report/report.html").is_file()


def test_the_list_starts_nothing(sweep: Sweep, capsys: pytest.CaptureFixture[str]):
    started = sweep()
    assert reproducing.main(["--list"]) == 0
    assert reproducing.main([]) == 0
    assert started == []
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 2 * 43
    assert ["value/table3", "missing: 8 cells"] in lines


def test_the_list_looks_where_a_name_and_a_folder_say(sweep: Sweep, capsys: pytest.CaptureFixture[str]):
    sweep(ALL_CELLS[:1])
    assert reproducing.main(["value/table3", "out=mine"]) == 0
    capsys.readouterr()
    assert reproducing.main(["--list", "value/table3", "out=mine"]) == 0
    assert capsys.readouterr().out == "value/table3  partly: 1 of 8 cells\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=1"], "seed=1: what is to be measured? Give a name, or --list"),
        ([""], " is no published table or figure"),
        (["value", "out="], "out= is empty; give a folder"),
    ],
)
def test_what_says_nothing_is_an_error_of_use(
    words: list[str], message: str, sweep: Sweep, capsys: pytest.CaptureFixture[str]
):
    started = sweep()
    assert reproducing.main(words) == 2
    assert message in capsys.readouterr().err
    assert started == []


def test_a_name_that_is_none_is_an_error_of_use(sweep: Sweep, capsys: pytest.CaptureFixture[str]):
    started = sweep()
    assert reproducing.main(["value/table33"]) == 2
    assert capsys.readouterr().err.startswith("vlp.reproduce: value/table33 is no published table or figure")
    assert started == []


def test_a_signal_ends_it_with_its_status_and_the_command_that_goes_on(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    sweep()

    def stopped(*_: object) -> int:
        raise Stopped("SIGTERM")

    monkeypatch.setattr(reproducing, "measure", stopped)
    monkeypatch.setattr("sys.orig_argv", ["python", "-m", "vlp.reproduce", "value/table3"])
    assert reproducing.main(["value/table3"]) == 143
    assert capsys.readouterr().err.splitlines()[-1] == "python -m vlp.reproduce value/table3"


def test_a_number_of_seeds_stands_for_the_seeds():
    assert reproducing.every_seed("seeds=3") == "seed=0,1,2"


@pytest.mark.parametrize("word", ["seeds=0", "seeds=x", "seeds="])
def test_what_is_no_number_of_seeds_is_told(word: str, capsys: pytest.CaptureFixture[str]):
    assert reproducing.main(["visual_parsing/table5", word]) == 2
    assert f"{word}: expected how many seeds there are to be, 1 or more" in capsys.readouterr().err


def test_pictures_of_finished_cells_are_named(tmp_path: Path):
    figures = tmp_path / "cells" / "0123" / "figures"
    figures.mkdir(parents=True)
    for name in ("pictures-folder.png", "pictures-data.png", "masks-cosine-values.png"):
        (figures / name).touch()
    asked = request(["visual_parsing/figure2"], tmp_path)
    assert [*reproducing.pictures(asked)] == [figures / "pictures-data.png", figures / "pictures-folder.png"]
    assert [*reproducing.pictures(request(["value/table3"], tmp_path))] == []
