"""The tidy table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.results.examples import ROW, SUBJECT, table
from vlp.results import (
    COLUMNS,
    Record,
    Row,
    Subject,
    concatenate,
    name_with_row,
    read_results,
    short_name,
    write_records,
)

HEADER = (
    "model,size,weights,dataset,probe,prober,condition,metric,stage,query,key,layer,head,label,parameter,"
    "value,ci_low,ci_high,n,seed,prober_seed"
)


def test_the_columns_are_the_public_ones(tmp_path: Path):
    assert ",".join(COLUMNS) == HEADER
    lines = table(tmp_path, ROW).read_text().splitlines()
    assert lines == [
        HEADER,
        "uniter,tiny,scenes-0123abcd,scenes,nmi,,model,nmi,joint,joint,,1,,,,0.25,0.2,0.3,16,0,",
    ]


def test_what_is_written_is_read(tmp_path: Path):
    rows = [
        ROW,
        replace(ROW, layer=0, ci_low=None, ci_high=None),
        replace(ROW, condition="none", label='a "b", c\nd', head=12),
    ]
    assert read_results(table(tmp_path, *rows)) == [Record.of(SUBJECT, row) for row in rows]


def test_the_words_none_and_na_stay_words(tmp_path: Path):
    rows = [replace(ROW, condition=word, label=word) for word in ("none", "None", "NA", "nan")]
    assert [record.label for record in read_results(table(tmp_path, *rows))] == ["none", "None", "NA", "nan"]


def test_a_number_is_read_to_the_last_bit(tmp_path: Path):
    assert read_results(table(tmp_path, replace(ROW, value=0.1 + 0.2)))[0].value == 0.1 + 0.2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"condition": ""}, "condition is empty"),
        ({"metric": ""}, "metric is empty"),
        ({"stage": "fusion"}, "stage='fusion', expected one of ('', 'joint', 'text', 'vision', 'cross')"),
        ({"query": "image"}, "query='image', expected one of ('', 'joint', 'text', 'vision')"),
        ({"key": "image"}, "key='image', expected one of ('', 'joint', 'text', 'vision')"),
        ({"layer": -1}, "layer=-1, expected 0 or more"),
        ({"head": 0}, "head=0, expected 1 or more"),
        ({"metric": "bits", "value": float("nan")}, "value=nan, expected a finite number"),
        ({"value": 25.0}, "value=25.0, expected a fraction in [0, 1]"),
        ({"ci_low": None}, "interval None, 0.3 is half given"),
        ({"ci_low": 0.4}, "interval 0.4, 0.3 is not finite and in order"),
        ({"n": 0}, "n=0, expected 1 or more"),
    ],
)
def test_a_row_that_is_not_what_its_columns_say_is_refused(tmp_path: Path, change: dict[str, object], message: str):
    with pytest.raises(ValueError) as caught:
        table(tmp_path, replace(ROW, **change))
    assert str(caught.value).startswith(f"{message}, in model=uniter, size=tiny, weights=scenes-0123abcd")
    assert not (tmp_path / "results.csv").exists()


def test_two_rows_of_the_same_thing_are_refused(tmp_path: Path):
    with pytest.raises(ValueError) as caught:
        table(tmp_path, ROW, replace(ROW, value=0.5, n=3))
    assert str(caught.value).startswith("two rows say the same thing: model=uniter")


def test_a_mean_stands_beside_what_each_prober_seed_found(tmp_path: Path):
    lines = table(tmp_path, *(replace(ROW, prober_seed=seed) for seed in (None, 0, 1))).read_text().splitlines()
    assert [line.rpartition(",")[2] for line in lines[1:]] == ["", "0", "1"]
    assert [record.prober_seed for record in read_results(tmp_path / "results.csv")] == [None, 0, 1]


def test_a_probe_without_rows_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"^probe nmi gave no rows for uniter on scenes$"):
        table(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model,size", "model,width", "expected the columns model,size"),
        ("0.25", "much", "line 2, column value: expected float, found 'much'"),
        (",16,", ",1.5,", "line 2, column n: expected int, found '1.5'"),
        (",16,0,", ",16,0", "line 2: expected 21 cells, found 20"),
    ],
)
def test_a_table_that_is_not_ours_is_refused_by_line_and_column(tmp_path: Path, old: str, new: str, message: str):
    path = table(tmp_path, ROW)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError) as caught:
        read_results(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_tables_are_concatenated_each_line_once(tmp_path: Path):
    first, second = table(tmp_path / "a", ROW), table(tmp_path / "b", ROW, replace(ROW, layer=2))
    concatenate([first, second], tmp_path / "all.csv")
    assert [record.layer for record in read_results(tmp_path / "all.csv")] == [1, 2]


def test_cells_that_differ_in_what_no_column_says_stand_side_by_side(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    first, second = table(tmp_path / "a", ROW), table(tmp_path / "b", replace(ROW, value=0.5, n=3))
    concatenate([first, second], tmp_path / "all.csv")
    assert [record.n for record in read_results(tmp_path / "all.csv")] == [16, 3]
    assert "cells differ in what no column says; one of the rows: model=uniter" in caplog.text


def test_a_short_name_has_eight_digits_and_nothing_that_hydra_cannot_parse():
    assert short_name("my best=model, v2", "0123456789abcdef") == "my_best_model__v2-01234567"


@pytest.mark.parametrize(
    ("weights", "row"),
    [
        ("random", ""),
        ("scenes-01234567", ""),
        ("paper_table@left-01234567", "left"),
        ("a-b@top-right-01234567", "top-right"),
    ],
)
def test_the_row_of_a_recipe_is_read_off_its_weights(weights: str, row: str):
    record = Record.of(Subject("uniter", "tiny", weights, "scenes", "nmi", "", 0), Row("model", "nmi", 0.5, 1))
    assert record.row == row


@pytest.mark.parametrize(
    ("name", "row", "named"),
    [
        ("last-01234567", "r50", "last@r50-01234567"),
        ("last-01234567", "", "last-01234567"),
        ("me@work-01234567", "", "me_work-01234567"),
        ("a-b@work-01234567", "no_mfr", "a-b_work@no_mfr-01234567"),
    ],
)
def test_weights_of_a_file_are_of_the_row_that_was_asked_for_whatever_its_name(name: str, row: str, named: str):
    assert name_with_row(name, row) == named
    record = Record.of(replace(SUBJECT, weights=named), ROW)
    assert record.row == row


def test_writing_records_checks_them_too(tmp_path: Path):
    with pytest.raises(ValueError, match=r"^n=0, expected 1 or more"):
        write_records(tmp_path / "x.csv", [Record.of(SUBJECT, replace(ROW, n=0))])
