"""`run.json` on disks that fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.durable.disks import cut, faulty_disk, full
from vlp.commands.records import RunRecord, device_name, processor_name, read_record
from vlp.durable.files import StorageError


@pytest.fixture
def record(tmp_path: Path) -> Path:
    RunRecord("train.py", "0123", seed=3).write(tmp_path, finished=True, steps=7)
    return tmp_path / "run.json"


def test_a_record_is_read_as_it_was_written(record: Path):
    read = read_record(record.parent)
    assert [read[key] for key in ("command", "content_hash", "seed", "finished", "steps")] == [
        "train.py", "0123", 3, True, 7,
    ]  # fmt: skip


def test_a_full_disk_leaves_the_record_that_was_there(record: Path):
    with faulty_disk(record.parent, 100, full), pytest.raises(StorageError) as caught:
        RunRecord("train.py", "4567", seed=3).write(record.parent, finished=False)
    assert str(caught.value).startswith(f"{record} cannot be written: No space left on device (ENOSPC); disk /")
    assert read_record(record.parent)["content_hash"] == "0123"


def test_without_a_record_nothing_is_known_and_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    assert read_record(tmp_path) == {}
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: cut(path, 1), "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (lambda path: path.write_text("[1]"), "expected a JSON object, found list"),
    ],
)
def test_a_damaged_record_is_named_and_counts_as_missing(
    record: Path, damage, reason: str, caplog: pytest.LogCaptureFixture
):
    damage(record)
    assert read_record(record.parent) == {}
    assert caplog.messages == [f"{record} is damaged and taken as missing: {reason}"]


def test_a_cell_s_own_command_and_prober_seeds_are_recorded(tmp_path: Path):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text("entry: probe\nprober: {fitting: {seeds: [0, 1]}}\n")
    (tmp_path / ".hydra" / "overrides.yaml").write_text("- probe=vcd\n- run.tags=[a b]\n")
    RunRecord("python probe.py -m probe=vcd,vcc", "0123", seed=3).write(tmp_path, finished=True)
    read = read_record(tmp_path)
    assert read["own_command"] == "python probe.py probe=vcd 'run.tags=[a b]'"
    assert (read["command"], read["prober_seeds"]) == ("python probe.py -m probe=vcd,vcc", [0, 1])


def test_the_processor_has_the_name_that_linux_gives_it():
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    assert processor_name() in (named or {""})
    assert device_name()


@pytest.mark.parametrize("text", ["", "entry: [", "[1]"])
def test_a_config_that_is_not_whole_is_no_reason_to_fail(tmp_path: Path, text: str):
    (tmp_path / ".hydra").mkdir()
    for name in ("config.yaml", "overrides.yaml"):
        (tmp_path / ".hydra" / name).write_text(text)
    RunRecord("python train.py", "0123", seed=3).write(tmp_path, finished=False)
    assert "own_command" not in read_record(tmp_path)
