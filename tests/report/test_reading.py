from pathlib import Path

import pytest

from tests.report.samples import (
    NMI,
    TRAINED,
    nmi_rows,
    pretraining_rows,
    records,
    row,
    write_cell,
    write_sweep,
    write_training,
)
from vlp.report.reading import collect, read_history, read_run
from vlp.results import COLUMNS, gather


def test_trainings_cells_and_sweeps_are_found_each_once(tmp_path: Path):
    training = write_training(tmp_path / "outputs" / "train" / "abc")
    nmi = write_cell(tmp_path / "outputs" / "cells" / "111", NMI, nmi_rows())
    heads = write_cell(tmp_path / "outputs" / "cells" / "222", TRAINED, pretraining_rows())
    sweep = write_sweep(tmp_path / "sweep", [nmi, heads])
    gather(sweep)
    findings = collect([training, sweep, tmp_path / "outputs"])
    assert [run.path for run in findings.trainings] == [training]
    assert [cell.path.name for cell in findings.cells] == ["111", "222"]
    assert len(findings.records) == len(nmi_rows()) + len(pretraining_rows())
    assert findings.cells[0].run["command"] == "python probe.py probe=nmi model=uniter"
    assert findings.conflicts == ()


def test_a_table_whose_cells_are_gone_is_read_itself(tmp_path: Path):
    sweep = write_sweep(tmp_path / "sweep", [write_cell(tmp_path / "cells" / "111", NMI, nmi_rows())])
    gather(sweep)
    (sweep / "cells" / "111").unlink()
    assert len(collect([sweep]).records) == len(nmi_rows())


def test_an_earlier_report_is_no_run(tmp_path: Path):
    sweep = write_sweep(tmp_path / "sweep", [write_cell(tmp_path / "cells" / "111", NMI, nmi_rows())])
    write_cell(sweep / "report", TRAINED, pretraining_rows())  # of cells that the sweep had before
    assert collect([sweep]).records == tuple(records(NMI, nmi_rows()))
    assert len(collect([sweep / "report"]).records) == len(pretraining_rows())


def test_unfinished_cells_under_a_temporary_name_are_left_out(tmp_path: Path):
    write_cell(tmp_path / "cells" / ".111-0a0b0c0d", TRAINED, pretraining_rows())
    write_cell(tmp_path / "cells" / "222", NMI, nmi_rows())
    assert [cell.path.name for cell in collect([tmp_path]).cells] == ["222"]


def test_a_link_that_leads_back_up_is_walked_once(tmp_path: Path):
    cell = write_cell(tmp_path / "cells" / "111", NMI, nmi_rows())
    (cell / "up").symlink_to(tmp_path, target_is_directory=True)
    assert len(collect([tmp_path]).cells) == 1


def test_of_two_values_for_one_thing_the_first_is_kept_and_the_other_told(tmp_path: Path):
    first = write_cell(tmp_path / "1", TRAINED, [row("model", "accuracy", 0.9)])
    second = write_cell(tmp_path / "2", TRAINED, [row("model", "accuracy", 0.8)])
    findings = collect([first, second])
    assert [record.value for record in findings.records] == [0.9]
    assert [record.value for record in findings.conflicts] == [0.8]


def test_a_missing_directory_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError) as error:
        collect([tmp_path / "nowhere"])
    assert str(error.value) == f"{tmp_path}/nowhere: no such directory; give the folder of a run, a cell or a sweep"


def test_a_file_is_no_directory(tmp_path: Path):
    (tmp_path / "results.csv").write_text("")
    with pytest.raises(NotADirectoryError) as error:
        collect([tmp_path / "results.csv"])
    assert str(error.value) == f"{tmp_path}/results.csv: expected a directory, found a file"


@pytest.mark.parametrize(("names", "found"), [([], "an empty directory"), (["a.txt", "b.txt"], "a.txt, b.txt")])
def test_a_directory_without_results_is_named_with_what_it_holds(tmp_path: Path, names: list[str], found: str):
    for name in names:
        (tmp_path / name).write_text("")
    with pytest.raises(ValueError) as error:
        collect([tmp_path])
    assert str(error.value) == (
        f"{tmp_path}: expected results.csv (of a cell or sweep) or metrics.csv (of a training run) in it or below, "
        f"found {found}"
    )


def test_blanks_and_values_that_are_not_finite_are_left_out_of_curves(tmp_path: Path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train/mlm,val/mlm,val/itm\n0,9,2.5,,\n0,10,,2.25,\n0,19,nan,,\n")
    assert read_history(path) == {"train/mlm": ((9, 2.5),), "val/mlm": ((10, 2.25),)}


def test_a_step_that_a_resumed_run_logged_again_counts_once_as_it_was_last(tmp_path: Path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,train/mlm\n9,3.0\n19,2.5\n9,2.0\n")
    assert read_history(path) == {"train/mlm": ((9, 2.0), (19, 2.5))}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch,train/mlm\n0,1\n", "expected a column step, found epoch, train/mlm"),
        ("", "expected a column step, found no header"),
        ("step,train/mlm\n9,1.0\n19,low\n", "line 3, column train/mlm: expected a number, found 'low'"),
    ],
)
def test_a_broken_metrics_file_is_named(tmp_path: Path, text: str, message: str):
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        read_history(path)
    assert str(error.value).startswith(str(path))
    assert str(error.value).endswith(message)


def test_a_run_without_a_record_is_read_and_a_broken_record_is_named(tmp_path: Path):
    assert read_run(tmp_path) == {}
    (tmp_path / "run.json").write_text("[1]")
    with pytest.raises(ValueError) as error:
        read_run(tmp_path)
    assert str(error.value) == f"{tmp_path}/run.json: expected a JSON object, found list"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "expected JSON, maximum recursion depth exceeded"),
        ('{"a": ' + "[" * 100 + "]" * 100 + "}", "nested deeper than 64 levels"),
        (r'{"command": "\ud800"}', r"half a character in '\ud800', expected UTF-8"),
    ],
    ids=range(3),
)
def test_a_record_that_no_page_could_show_is_named(tmp_path: Path, text: str, message: str):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError) as error:
        read_run(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/run.json")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metrics.csv", b"step,train/mlm\n9,\xff\n", "metrics.csv: expected a CSV file in UTF-8, 'utf-8' codec can't"),
        ("results.csv", b"model,\xff\n", "results.csv: expected a CSV file in UTF-8, 'utf-8' codec can't"),
        ("run.json", b'{"wall_time_s": NaN}', "run.json: expected JSON, found NaN"),
        ("run.json", b'"\xff"', "run.json: expected JSON, 'utf-8' codec can't"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_read(tmp_path: Path, name: str, text: bytes, message: str):
    write_cell(tmp_path / "whole", NMI, nmi_rows())
    broken = tmp_path / "broken"
    if name == "results.csv":
        write_cell(broken, TRAINED, pretraining_rows())
    else:
        write_training(broken)
    (broken / name).write_bytes(text)
    findings = collect([tmp_path])
    (problem,) = findings.problems
    assert problem.startswith(f"{broken}/{message}")
    assert findings.records == tuple(records(NMI, nmi_rows()))
    assert len(findings.trainings) == (name == "run.json")


def test_where_nothing_can_be_read_that_is_the_error(tmp_path: Path):
    (tmp_path / "results.csv").write_bytes(b"\xff")
    with pytest.raises(ValueError) as error:
        collect([tmp_path])
    assert str(error.value).startswith(f"{tmp_path}/results.csv: expected a CSV file in UTF-8")


def test_a_table_without_a_row_is_told(tmp_path: Path):
    (tmp_path / "results.csv").write_text(",".join(COLUMNS) + "\n")
    assert collect([tmp_path]).empty == (tmp_path / "results.csv",)
