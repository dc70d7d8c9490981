from pathlib import Path

import pytest

from tests.report.samples import NMI, TRAINED, nmi_rows, pretraining_rows, row, write_cell, write_probers, write_sweep
from vlp.report.__main__ import main
from vlp.results import gather, read_results


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
