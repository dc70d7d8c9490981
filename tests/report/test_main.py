from dataclasses import replace
from pathlib import Path

import pytest

from tests.report.samples import (
    NMI,
    TRAINED,
    nmi_rows,
    pretraining_rows,
    prober_rows,
    row,
    write_cell,
    write_probers,
    write_sweep,
    write_training,
)
from vlp.report.__main__ import main
from vlp.results import COLUMNS, gather, read_results


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    cells = [write_cell(tmp_path / "1", NMI, nmi_rows()), write_cell(tmp_path / "2", TRAINED, pretraining_rows())]
    return write_sweep(tmp_path / "sweep", cells)


def test_a_sweep_becomes_a_page_a_table_and_a_text(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    assert main([str(sweep), "--out", str(out), "--strict"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "results.csv"]
    table = gather(sweep)
    assert table is not None
    assert read_results(out / "results.csv") == read_results(table)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Does it use the image to fill in masked words?" in printed
    assert "92.1% [90.5, 93.8] of pairs classified correctly, against 50.3% [47.2, 53.3] with random weights" in printed
    assert printed.endswith(f"report: {out}/report.html")


def test_markup_of_a_terminal_in_data_is_printed_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cell = write_cell(tmp_path / "1", TRAINED, [row("model", "accuracy", 0.5, label="[red]alarm[/red]")])
    assert main([str(cell), "--out", str(tmp_path / "out")]) == 0
    assert "[red]alarm[/red]" in capsys.readouterr().out


def test_escapes_of_a_terminal_in_data_are_spelt_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [row(condition, "accuracy", 0.5, label="\x1b[2J\x07") for condition in ("model", "random_weights")]
    cell = write_cell(tmp_path / "1", TRAINED, rows)
    assert main([str(cell), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "\x1b[2J" not in printed
    assert "\x07" not in printed
    assert r"\x1b[2J\x07" in printed


def test_strict_fails_where_a_control_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cell = write_cell(tmp_path / "1", NMI, nmi_rows(["model", "random_weights"]))
    assert main([str(cell), "--out", str(tmp_path / "out"), "--strict"]) == 1
    printed = capsys.readouterr()
    assert "controls missing: shuffled" in printed.out
    assert printed.err == "answers that lack controls: 1; the report marks them\n"
    assert main([str(cell), "--out", str(tmp_path / "out")]) == 0


def test_strict_fails_on_a_table_without_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "results.csv").write_text(",".join(COLUMNS) + "\n")
    assert main([str(tmp_path), "--out", str(tmp_path / "out"), "--strict"]) == 1
    assert capsys.readouterr().err == f"{tmp_path}/results.csv: a table without a row\n"
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == f"{tmp_path}/results.csv: a table without a row\n"


@pytest.mark.parametrize("keep", ["recall", "chance"])
def test_strict_fails_on_rows_that_answer_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], keep: str):
    subject = replace(TRAINED, probe="vcd", prober="attention")
    rows = [each for each in prober_rows("attention") if keep in (each.metric, each.condition)]
    write_cell(tmp_path / "1", NMI, nmi_rows())
    write_cell(tmp_path / "2", subject, rows)
    assert main([str(tmp_path), "--out", str(tmp_path / "out"), "--strict"]) == 1
    assert capsys.readouterr().err == "rows that answer nothing: vcd attention uniter last-1a2b3c4d scenes\n"


@pytest.mark.parametrize(
    ("weights", "kept"),
    [
        ("random", {("model", "accuracy")}),
        ("last-1a2b3c4d", {("random_weights", "accuracy"), ("chance", "accuracy")}),
        ("last-1a2b3c4d", {("model", "balanced_accuracy"), ("random_weights", "balanced_accuracy")}),
    ],
    ids=["random weights without controls", "controls alone", "balanced accuracy alone"],
)
def test_strict_fails_on_what_is_no_whole_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], weights: str, kept: set[tuple[str, str]]
):
    subject = replace(TRAINED, probe="vcd", prober="attention", weights=weights)
    rows = [each for each in prober_rows("attention") if (each.condition, each.metric) in kept]
    write_cell(tmp_path / "1", subject, rows)
    assert main([str(tmp_path), "--out", str(tmp_path / "out"), "--strict"]) == 1
    assert capsys.readouterr().err == "answers that lack controls: 1; the report marks them\n"


def test_what_cannot_be_read_is_named_and_the_rest_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_cell(tmp_path / "1", NMI, nmi_rows())
    broken = write_training(tmp_path / "2")
    (broken / "metrics.csv").write_bytes(b"step,\xff\n")
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith(f"not read: {broken}/metrics.csv: expected a CSV file in UTF-8")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Are text and vision mixed" in page
    assert f"since it cannot be read: {broken}/metrics.csv" in page


def test_what_was_measured_is_printed_beside_the_paper_s_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_probers(tmp_path / "cells")
    out = tmp_path / "out"
    assert main([str(tmp_path / "cells"), "--out", str(out), "--strict"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "claims.csv",
        "report.html",
        "results.csv",
        "value_table3.csv",
    ]
    printed = " ".join(capsys.readouterr().out.split())
    assert "52.04 | 88.00" in printed
    assert (
        "V6 Heads together recover the type of a link, hardly its existence: not testable here. generated data; on "
        "scenes: not testable here. 7 of 14 comparisons measured, none of VCC (SS), VCC (TS)"
    ) in printed


def test_a_directory_without_results_is_an_error_that_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith(f"vlp.report: {tmp_path}/empty: expected results.csv")
    assert not (tmp_path / "out").exists()
