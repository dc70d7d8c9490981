"""The table of what a training logs: its lines, its columns, and what a kill leaves of it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from vlp.checkpointing.metrics_file import MetricsFile, read_rows


def written(path: Path, *rows: dict[str, float], keep: int = 0) -> MetricsFile:
    table = MetricsFile(path, keep)
    for step, row in enumerate(rows, start=keep + 1):
        table.log_metrics(row, step=step)
    table.save()
    return table


def test_a_line_a_call_and_a_column_a_name_in_alphabetical_order(tmp_path: Path):
    path = tmp_path / "metrics.csv"
    written(path, {"loss": 0.5, "a": 1}, {"loss": float("nan")})
    assert path.read_text() == "a,loss,step\n1,0.5,1\n,nan,2\n"


def test_a_new_column_keeps_the_lines_before_it(tmp_path: Path):
    path = tmp_path / "metrics.csv"
    table = written(path, {"b": 1})
    table.log_metrics({"a": 2}, step=2)
    table.save()
    assert path.read_text() == "a,b,step\n,1,1\n2,,2\n"


def test_values_that_need_quotes_come_back(tmp_path: Path):
    path = tmp_path / "metrics.csv"
    written(path, {'na"me, odd': 1.0})
    with path.open(newline="") as file:
        assert list(csv.DictReader(file)) == [{'na"me, odd': "1.0", "step": "1"}]


def test_going_on_keeps_the_lines_of_the_checkpoint_and_no_other(tmp_path: Path):
    path = tmp_path / "metrics.csv"
    written(path, {"a": 1}, {"a": 2}, {"late": 3})
    written(path, {"a": 20}, keep=1)
    assert path.read_text() == "a,step\n1,1\n20,2\n"


def test_beginning_anew_leaves_nothing_of_before(tmp_path: Path):
    path = tmp_path / "metrics.csv"
    written(path, {"a": 1})
    MetricsFile(path)
    assert not path.exists()


def test_a_line_that_a_kill_cut_short_is_no_line(tmp_path: Path):
    path = tmp_path / "metrics.csv"
    path.write_text("a,b,step\n1,2,1\n3,4")
    assert read_rows(path) == [{"a": "1", "b": "2", "step": "1"}]


def test_fewer_lines_than_the_checkpoint_comes_after_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "metrics.csv"
    written(path, {"a": 1})
    assert MetricsFile(path, keep=5).rows == 1
    assert caplog.messages == [f"{path} holds 1 lines, the checkpoint was written after 5"]
