"""The store of finished cells, and the links to them."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.durable.disks import broken, cut, failing, faulty_disk, flip, full, in_child, kill
from tests.results.examples import ROW, table
from vlp.durable.digests import DamagedError
from vlp.durable.files import StorageError
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


def test_a_cell_is_durable_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = CellStore(tmp_path / "cells")
    synced: set[str] = set()
    fsync, rename = os.fsync, os.rename

    def noted(file: int) -> None:
        synced.add(os.path.basename(os.readlink(f"/proc/self/fd/{file}")))
        fsync(file)

    def renamed(source: Path, target: Path) -> None:
        names = {path.name for path in source.rglob("*")}
        assert names == {"results.csv", "results.csv.sha256", "run.json", "run.json.sha256", "figures"}
        assert names | {source.name} <= synced
        rename(source, target)
        synced.clear()

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "rename", renamed)
    finished(store, "0123456789ab")
    assert synced == {"cells"}


@pytest.mark.parametrize("name", ["results.csv", "run.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "missing"])
def test_a_damaged_cell_is_named_and_does_not_count(
    tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
):
    store = CellStore(tmp_path / "cells")
    path = finished(store, "0123456789ab") / name
    {"cut": lambda: cut(path, 1), "flip": lambda: flip(path, 9), "missing": path.unlink}[damage]()
    assert not store.is_finished("0123456789ab")
    (message,) = caplog.messages
    assert message.startswith("cell 0123456789ab does not count as measured: ")
    assert str(path) in message
    finished(store, "0123456789ab")
    assert store.is_finished("0123456789ab")


def test_a_cell_without_its_digest_is_named_and_does_not_count(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    store = CellStore(tmp_path / "cells")
    path = finished(store, "0123456789ab") / "results.csv"
    path.with_name("results.csv.sha256").unlink()
    assert not store.is_finished("0123456789ab")
    assert caplog.messages == [
        f"cell 0123456789ab does not count as measured: {path} is missing, or its sha256 beside it is"
    ]


def test_a_number_that_changed_in_a_cell_is_never_gathered(tmp_path: Path):
    path = finished(CellStore(tmp_path / "cells"), "0123456789ab")
    link_cell(path, tmp_path / "run")
    table = path / "results.csv"
    table.write_text(table.read_text().replace("0.25", "0.75"))
    with pytest.raises(DamagedError) as caught:
        gather(tmp_path / "run")
    assert str(caught.value).startswith(f"{table} is damaged: its sha256 is ")
    assert not (tmp_path / "run" / "results.csv").exists()


@pytest.mark.parametrize("room", [0, 100, 300])
def test_a_full_disk_leaves_the_cell_that_was_there(tmp_path: Path, room: int):
    store = CellStore(tmp_path / "cells")
    path = finished(store, "0123456789ab")
    with faulty_disk(store.root, room, full), pytest.raises(OSError, match="No space left on device"):
        finished(store, "0123456789ab", replace(ROW, value=0.5))
    assert store.is_finished("0123456789ab")
    assert read_results(path / "results.csv")[0].value == 0.25
    assert [path.name for path in store.root.iterdir()] == ["0123456789ab"]


@pytest.mark.parametrize("call", [0, 1])
def test_a_rename_that_fails_leaves_the_cell_that_was_there(tmp_path: Path, call: int):
    store = CellStore(tmp_path / "cells")
    path = finished(store, "0123456789ab")
    moves = os.rename

    def moved(source: Path, target: Path) -> None:
        if (target == path) == (call == 1) and not source.name.endswith("-old"):
            broken()
        moves(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", moved)
        with pytest.raises(StorageError) as caught:
            finished(store, "0123456789ab", replace(ROW, value=0.5))
    assert str(caught.value).startswith(f"{path} cannot be written: Input/output error (EIO); disk /")
    assert read_results(path / "results.csv")[0].value == 0.25
    assert [path.name for path in store.root.iterdir()] == ["0123456789ab"]


@pytest.mark.parametrize("call", [0, 3, 6, 11, 12])
def test_a_kill_at_any_step_leaves_no_cell_or_a_whole_one(tmp_path: Path, call: int):
    store = CellStore(tmp_path / "cells")

    def measure() -> None:
        with failing("fsync", kill, after=call):
            finished(store, "0123456789ab")

    assert in_child(measure) == -signal.SIGKILL
    assert store.path("0123456789ab").exists() == (call == 12)
    assert store.path("0123456789ab").exists() == store.is_finished("0123456789ab")
    finished(store, "0123456789ab", replace(ROW, value=0.5))
    assert read_results(store.path("0123456789ab") / "results.csv")[0].value == 0.5
    assert [path.name for path in store.root.iterdir()] == ["0123456789ab"]


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
