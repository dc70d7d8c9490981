"""Files that are whole or not there, on disks that fail and under kills."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.durable.disks import broken, failing, faulty_disk, full, in_child, kill, own_folder, read_only, small_disk
from vlp.durable.files import StorageError, append, remove_leftovers, replace_link, replacing, sync_tree, write_text

OLD, NEW = "old\n", "new, and longer\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "kept.txt"
    path.parent.mkdir()
    path.write_text(OLD)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_takes_the_place_of_what_was_there_when_the_block_ends(file: Path):
    with replacing(file, "w", newline="") as opened:
        opened.write(NEW)
        assert file.read_text() == OLD
    assert file.read_text() == NEW
    assert names(file.parent) == ["kept.txt"]


def test_content_is_durable_before_the_rename_and_the_name_after_it(file: Path, monkeypatch: pytest.MonkeyPatch):
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        order.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}"[:13])
        fsync(descriptor)

    def replaced(source: Path, target: Path) -> None:
        assert source.read_text() == NEW
        order.append(f"rename to {target.name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    write_text(file, NEW)
    assert order == ["sync .kept.tx", "rename to kept.txt", "sync folder"]


@pytest.mark.parametrize("room", [0, 1, len(NEW) - 1])
@pytest.mark.parametrize("fault", [full, broken])
def test_a_disk_that_fails_at_any_byte_leaves_the_old_file(file: Path, room: int, fault: Callable):
    with faulty_disk(file.parent, room, fault), pytest.raises(StorageError) as caught:
        write_text(file, NEW)
    assert caught.value.errno == {full: errno.ENOSPC, broken: errno.EIO}[fault]
    assert file.read_text() == OLD
    assert names(file.parent) == ["kept.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_fails_after_the_bytes_leaves_the_old_file(file: Path, step: str):
    with failing(step, broken), pytest.raises(StorageError):
        write_text(file, NEW)
    assert file.read_text() == OLD
    assert names(file.parent) == ["kept.txt"]


def test_a_name_that_cannot_be_made_durable_is_told_though_the_new_file_stands(file: Path):
    with failing("fsync", broken, after=1), pytest.raises(StorageError) as caught:
        write_text(file, NEW)
    assert caught.value.errno == errno.EIO
    assert file.read_text() == NEW


def test_the_error_names_file_reason_disk_and_room(file: Path, monkeypatch: pytest.MonkeyPatch):
    state = os.statvfs_result((4096, 1024, 100, 12, 3, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: state)
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(file.parents[1]))
    with faulty_disk(file.parent, 0, full), pytest.raises(StorageError) as caught:
        write_text(file, NEW)
    assert str(caught.value) == (
        f"{file} cannot be written: No space left on device (ENOSPC); disk {file.parents[1]}, 3072 bytes free of 102400"
    )
    assert caught.value.filename == str(file)


def test_a_disk_that_says_nothing_is_named_all_the_same(file: Path):
    with failing("statvfs", broken), faulty_disk(file.parent, 0, broken), pytest.raises(StorageError) as caught:
        write_text(file, NEW)
    reason, _, disk = str(caught.value).partition("; ")
    assert reason == f"{file} cannot be written: Input/output error (EIO)"
    assert disk.startswith("disk /") and disk.endswith(", which does not say what is free (Input/output error)")


def test_a_real_disk_without_room_is_named_by_its_mount_point(tmp_path: Path):
    disk = tmp_path / "disk"
    with small_disk(disk, 65536) as is_mounted:
        if not is_mounted:
            pytest.skip("this user may not mount a disk; run as root to end this")
        write_text(disk / "kept.txt", OLD)
        with pytest.raises(StorageError) as caught:
            write_text(disk / "kept.txt", "x" * 100_000)
        assert str(caught.value) == (
            f"{disk}/kept.txt cannot be written: No space left on device (ENOSPC); "
            f"disk {disk}, 61440 bytes free of 65536"
        )
        assert (disk / "kept.txt").read_text() == OLD
        assert names(disk) == ["kept.txt"]


def test_a_folder_that_is_read_only_or_missing_is_named():
    with own_folder() as folder:
        write_text(folder / "kept.txt", OLD)
        with read_only(folder), pytest.raises(StorageError) as caught:
            write_text(folder / "kept.txt", NEW)
        assert str(caught.value).startswith(f"{folder}/kept.txt cannot be written: Permission denied (EACCES); disk /")
        assert (folder / "kept.txt").read_text() == OLD
        with pytest.raises(StorageError) as caught:
            write_text(folder / "missing" / "file", NEW)
        start = f"{folder}/missing/file cannot be written: No such file or directory (ENOENT); disk /"
        assert str(caught.value).startswith(start)


def test_an_error_of_the_block_leaves_the_old_file_and_stays_what_it_is(file: Path):
    with pytest.raises(ZeroDivisionError), replacing(file) as opened:
        opened.write(b"half") // 0
    assert file.read_text() == OLD
    assert names(file.parent) == ["kept.txt"]


@pytest.mark.parametrize("room", [0, 7, len(NEW) - 1])
def test_a_kill_at_any_byte_leaves_the_old_file_and_a_leftover_that_can_be_removed(file: Path, room: int):
    def write() -> None:
        with faulty_disk(file.parent, room, kill):
            write_text(file, NEW)

    assert in_child(write) == -signal.SIGKILL
    assert file.read_text() == OLD
    assert len(names(file.parent)) == 2
    (file.parent / ".own.tmp").touch()
    remove_leftovers(file.parent)
    assert names(file.parent) == [".own.tmp", "kept.txt"]


def test_a_kill_after_the_rename_leaves_the_new_file(file: Path):
    def write() -> None:
        with failing("fsync", kill, after=1):
            write_text(file, NEW)

    assert in_child(write) == -signal.SIGKILL
    assert file.read_text() == NEW
    assert names(file.parent) == ["kept.txt"]


def test_a_link_is_relative_and_switched_at_one_instant(file: Path, monkeypatch: pytest.MonkeyPatch):
    link, other = file.parent / "last", file.with_name("other.txt")
    other.write_text(NEW)
    replace_link(link, file)
    replace = os.replace

    def replaced(source: Path, target: Path) -> None:
        assert link.read_text() == OLD
        replace(source, target)
        assert link.read_text() == NEW

    monkeypatch.setattr(os, "replace", replaced)
    replace_link(link, other)
    assert os.readlink(link) == "other.txt"
    assert names(file.parent) == ["kept.txt", "last", "other.txt"]


def test_a_link_that_cannot_be_switched_leads_where_it_led(file: Path):
    link = file.parent / "last"
    replace_link(link, file)
    with failing("replace", broken), pytest.raises(StorageError) as caught:
        replace_link(link, file.with_name("other.txt"))
    assert str(caught.value).startswith(f"{link} cannot be written: Input/output error (EIO)")
    assert os.readlink(link) == "kept.txt"
    assert names(file.parent) == ["kept.txt", "last"]


def test_a_tree_is_made_durable_files_before_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "cell" / "figures").mkdir(parents=True)
    (tmp_path / "cell" / "results.csv").touch()
    (tmp_path / "cell" / "figures" / "a.svg").touch()
    (tmp_path / "cell" / "link").symlink_to("nowhere")
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda file: synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{file}"), tmp_path))
    )
    sync_tree(tmp_path / "cell")
    assert synced == ["cell/figures/a.svg", "cell/figures", "cell/results.csv", "cell"]


def test_a_tree_that_is_not_taken_is_told_by_the_file(file: Path):
    with failing("fsync", broken), pytest.raises(StorageError) as caught:
        sync_tree(file.parent)
    assert caught.value.filename == str(file)


def test_what_is_appended_stands_at_the_end(tmp_path: Path):
    path = tmp_path / "file"
    for data in (b"one", b"", b"two"):
        append(path, data)
    assert path.read_bytes() == b"onetwo"


def test_a_disk_that_takes_a_part_of_what_is_appended_keeps_none_of_it(tmp_path: Path):
    path = tmp_path / "file"
    append(path, b"before")
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, allowed[1]))  # the kernel takes 94 bytes, then no more
    try:
        with pytest.raises(StorageError) as error:
            append(path, b"x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert error.value.errno == errno.EFBIG
    assert path.read_bytes() == b"before"
