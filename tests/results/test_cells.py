"""The store of finished cells, and the links to them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.results.examples import ROW, table
from vlp.results import CellStore, Row, forget_cells, gather, link_cell, read_results, show_cell


def finished(store: CellStore, cell: str, row: Row = ROW) -> Path:
    with store.writing(cell) as folder:
        table(folder, row)
        (folder / "figures").mkdir()
        (folder / "run.json").write_text("{}")
    return store.path(cell)


def test_a_cell_appears_when_it_is_whole(tmp_path: Path):
    store = CellStore(tmp_path / "cells")
    with store.writing("0123456789ab") as folder:
        table(folder, ROW)
        assert not store.path("0123456789ab").exists()
        (folder / "run.json").write_text("{}")
    assert store.is_finished("0123456789ab")
    assert [path.name for path in store.root.iterdir()] == ["0123456789ab"]


def test_a_cell_that_fails_leaves_nothing(tmp_path: Path):
    store = CellStore(tmp_path / "cells")
    with pytest.raises(ZeroDivisionError), store.writing("0123456789ab"):
        raise ZeroDivisionError
    assert list(store.root.iterdir()) == []


def test_what_a_kill_left_behind_is_no_cell_and_is_removed(tmp_path: Path):
    store = CellStore(tmp_path / "cells")
    (store.root / ".0123456789ab-dead").mkdir(parents=True)
    (store.root / ".ffffffffffff-busy").mkdir()
    assert not store.is_finished("0123456789ab")
    finished(store, "0123456789ab")
    assert sorted(path.name for path in store.root.iterdir()) == [".ffffffffffff-busy", "0123456789ab"]


def test_measuring_again_replaces_the_cell(tmp_path: Path):
    store = CellStore(tmp_path / "cells")
    finished(store, "0123456789ab")
    path = finished(store, "0123456789ab", replace(ROW, value=0.5))
    assert read_results(path / "results.csv")[0].value == 0.5
    assert [path.name for path in store.root.iterdir()] == ["0123456789ab"]


def test_a_run_links_its_cells_and_gathers_their_tables(tmp_path: Path):
    store = CellStore(tmp_path / "outputs" / "cells")
    run = tmp_path / "outputs" / "sweeps" / "now"
    for index, cell in enumerate(("aaaaaaaaaaaa", "bbbbbbbbbbbb")):
        link = link_cell(finished(store, cell, replace(ROW, layer=index)), run)
        assert os.readlink(link) == f"../../../cells/{cell}"
    assert gather(run) == run / "results.csv"
    assert [record.layer for record in read_results(run / "results.csv")] == [0, 1]


def test_links_survive_moving_the_outputs(tmp_path: Path):
    link_cell(finished(CellStore(tmp_path / "outputs" / "cells"), "aaaaaaaaaaaa"), tmp_path / "outputs" / "run")
    (tmp_path / "outputs").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "run" / "cells" / "aaaaaaaaaaaa" / "results.csv").is_file()


def test_linking_twice_is_linking_once(tmp_path: Path):
    cell = finished(CellStore(tmp_path / "cells"), "aaaaaaaaaaaa")
    for _ in range(2):
        link_cell(cell, tmp_path / "run")
        show_cell(cell, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["cells", "figures", "run.json"]
    assert [path.name for path in (tmp_path / "run" / "cells").iterdir()] == ["aaaaaaaaaaaa"]


def test_a_run_without_cells_has_no_table(tmp_path: Path):
    assert gather(tmp_path) is None


def test_a_run_forgets_the_cells_of_an_earlier_one(tmp_path: Path):
    cell = finished(CellStore(tmp_path / "store"), "aaaaaaaaaaaa")
    link_cell(cell, tmp_path / "run")
    forget_cells(tmp_path / "run")
    assert gather(tmp_path / "run") is None
    assert cell.is_dir()
