"""`run.json` on disks that fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.durable.disks import cut, faulty_disk, full
from vlp.commands.records import RunRecord, read_record
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
