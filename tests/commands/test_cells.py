"""A cell is measured once, whole, and stands in one table with the others of its sweep."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands.conftest import SMALLEST, Command
from tests.durable.disks import faulty_disk, full
from vlp.commands import app
from vlp.commands.plans import Plan
from vlp.commands.probe import write_config
from vlp.durable.files import StorageError
from vlp.results import COLUMNS, read_results

ROOT = Path(__file__).parents[2]
CELLS = Path("outputs/cells")


def cells() -> dict[str, int]:
    """Return the finished cells with the time each was made."""
    return {path.name: path.stat().st_mtime_ns for path in CELLS.glob("[!.]*")}


def runs(kind: str) -> list[Path]:
    return sorted(Path("outputs", kind).iterdir())


def test_a_run_leaves_a_cell_and_links_to_it(command: Command):
    done = command("probe", "weights=random", *SMALLEST)
    assert done.status == 0, done.err
    (cell,) = (CELLS / name for name in cells())
    files = [name + digest for name in ("results.csv", "run.json") for digest in ("", ".sha256")]
    assert sorted(path.name for path in cell.iterdir()) == [".hydra", "figures", *files]
    (run,) = runs("probe")
    assert (run / "cells" / cell.name).resolve() == cell.resolve()
    assert (run / "results.csv").read_text() == (cell / "results.csv").read_text()
    assert f"results: {run.resolve() / 'results.csv'}" in done.out
    for name in ("figures", "run.json"):
        assert (run / name).resolve() == (cell / name).resolve()
    assert list((cell / "figures").glob("*.png"))
    assert "size.width=16" in (cell / ".hydra" / "overrides.yaml").read_text()
    assert not any(letter in path.name for path in Path("outputs").rglob("*") for letter in "=, ")


def test_a_full_disk_is_named_where_a_cells_config_is_kept(tmp_path: Path):
    plan = Plan("probe", {"seed": 0}, "content", run_dir=".", outputs="outputs", command="python probe.py")
    with faulty_disk(tmp_path, 0, full), pytest.raises(StorageError) as error:
        write_config(plan, tmp_path / ".hydra")
    assert str(error.value).startswith(f"{tmp_path / '.hydra/config.yaml'} cannot be written: No space left on device")
    assert list((tmp_path / ".hydra").iterdir()) == []


def test_the_rows_and_the_record_say_whose_they_are(command: Command):
    command("probe", "weights=random", "model=visualbert", "seed=3", *SMALLEST)
    (cell,) = (CELLS / name for name in cells())
    records = read_results(cell / "results.csv")
    own = {(r.model, r.size, r.weights, r.dataset, r.probe, r.prober, r.seed, r.prober_seed) for r in records}
    assert own == {("visualbert", "tiny", "random", "scenes", "nmi", "", 3, None)}
    assert {r.condition for r in records} == {"model", "random_weights", "shuffled"}
    record = json.loads((cell / "run.json").read_text())
    assert record["finished"] is True
    assert record["seed"] == 3
    assert record["content_hash"].startswith(cell.name)
    assert record["command"].endswith("trainer.accelerator=cpu")
    assert {"device", "git_commit", "versions", "wall_time_s", "peak_memory_bytes", "weights_sha256"} <= set(record)


def test_a_finished_cell_is_not_measured_again_unless_forced(command: Command):
    command("probe", "weights=random", *SMALLEST)
    before = cells()
    command("probe", "weights=random", "dataset.num_workers=1", "logger=tensorboard", *SMALLEST)
    assert cells() == before
    assert len({(run / "results.csv").read_text() for run in runs("probe")}) == 1
    command("probe", "weights=random", "force=true", *SMALLEST)
    assert list(cells()) == list(before)
    assert cells() != before


def test_equal_seeds_give_equal_numbers_and_others_others(command: Command):
    for seed in (0, 1):
        command("probe", "weights=random", f"seed={seed}", *SMALLEST)
    first = {name: (CELLS / name / "results.csv").read_text() for name in cells()}
    shutil.rmtree("outputs")
    command("probe", "weights=random", *SMALLEST)
    (again,) = ((CELLS / name / "results.csv").read_text() for name in cells())
    assert again in first.values()
    assert len(first) == 2


def test_a_sweep_is_one_table(command: Command, in_process: None):
    done = command("probe", "-m", "model=uniter,lxmert,visualbert", "weights=random", *SMALLEST)
    assert done.status == 0, done.err
    (sweep,) = runs("sweeps")
    assert len(list((sweep / "cells").iterdir())) == 3
    records = read_results(sweep / "results.csv")
    assert {record.model for record in records} == {"uniter", "lxmert", "visualbert"}
    assert (sweep / "results.csv").read_text().startswith(",".join(COLUMNS))


def test_a_failing_cell_is_named_and_does_not_stop_the_others(command: Command, in_process: None):
    done = command("probe", "-m", "model=bert,uniter", "weights=random", *SMALLEST)
    assert done.status == 1
    assert "error: 1 of 2 cells failed:\n  model=bert weights=random" in done.err
    assert "probe nmi cannot be put to model bert" in done.error
    (sweep,) = runs("sweeps")
    assert {record.model for record in read_results(sweep / "results.csv")} == {"uniter"}


def test_no_half_cell_is_left_by_an_error(command: Command):
    command("probe", "weights=random", "model=bert", *SMALLEST)
    assert cells() == {}
    assert [path.name for path in CELLS.iterdir() if path.is_dir()] == []


def test_a_dataset_that_lacks_something_is_refused_before_weights_are_trained(
    command: Command, monkeypatch: pytest.MonkeyPatch
):
    from vlp.commands import probe

    monkeypatch.setattr(probe, "_train", lambda weights: pytest.fail("trained first"))
    monkeypatch.setattr(probe, "build_from_config", lambda *arguments: pytest.fail("built first"))
    answer = command("probe", "weights=recipe:scenes", "probe.needs=[foil]", "trainer.accelerator=cpu")
    assert answer.error.startswith("error: probe nmi needs foil, which dataset scenes lacks; it has class_probs")


def test_a_folder_that_is_not_there_is_refused_before_weights_are_trained(
    command: Command, monkeypatch: pytest.MonkeyPatch
):
    from vlp.commands import probe

    monkeypatch.setattr(probe, "_train", lambda weights: pytest.fail("trained first"))
    arguments = ("weights=recipe:scenes", "model=swin_vlp", "probe=masks", "paths.nlvr=nvlr")
    answer = command("probe", *arguments, "trainer.accelerator=cpu")
    assert answer.error == "error: probe.folder=nvlr: no such folder; give one with images, or null"


def is_locked(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_sweep_that_is_killed_goes_on_where_it_was(command: Command, in_process: None):
    # The one test of the real thing: fresh processes, and kill -9 while the second cell is being measured.
    arguments = ["-m", "weights=random", *SMALLEST, "model=uniter,lxmert"]
    slow = [*arguments, "probe.num_restarts=400", "dataset.size=64"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "probe.py"), *slow], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        if cells() and any(path.is_dir() for path in CELLS.glob(".*-*")):
            break
        time.sleep(0.02)
    process.kill()
    _, said = process.communicate()
    first = cells()
    assert len(first) == 1, said
    wait_until_free(deadline)
    half = [path for path in CELLS.glob(".*-*") if path.is_dir()]
    assert half, "the kill came too late to leave anything behind"
    done = command("probe", *slow)
    assert done.status == 0, done.err
    assert len(cells()) == 2
    assert {name: when for name, when in cells().items() if name in first} == first
    assert [path for path in CELLS.glob(".*-*") if path.is_dir()] == []


def wait_until_free(deadline: float) -> None:
    """Wait for the killed parent's child to die with it, which lets go of its lock."""
    while any(map(is_locked, CELLS.glob(".*.lock"))) and time.monotonic() < deadline:
        time.sleep(0.05)


def test_cells_of_a_sweep_are_processes_of_their_own(command: Command, monkeypatch: pytest.MonkeyPatch):
    from vlp.commands import cell, children

    started: list[list[str]] = []

    def run_child(arguments: list[str], environment: dict[str, str]) -> int:
        started.append(list(arguments[:2]))
        assert environment["VLP_PARENT"] == str(os.getpid())
        assert "HYDRA_FULL_ERROR" not in environment
        return cell.main(Path(arguments[2]))

    monkeypatch.setattr(children, "run_child", run_child)
    monkeypatch.setattr(cell, "follow_parent", lambda: None)
    done = command("probe", "-m", "model=uniter,bert", "weights=random", *SMALLEST)
    assert started == [["-m", "vlp.commands.cell"]] * 2
    assert "error: 1 of 2 cells failed:" in done.err
    assert len(cells()) == 1


def test_a_childs_own_words_reach_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from vlp.commands import children

    plan = app.Plan("probe", {}, "0" * 64, str(tmp_path), str(tmp_path), "")
    monkeypatch.setattr(children, "run_child", lambda arguments, environment: 137)
    with pytest.raises(children.CellError, match=r"^its process ended with status 137$"):
        children.carry_out_in_child(plan, {})
