"""Two faults of Lightning's own checkpoint component, which ours survives.

Stock writes to the system's temporary folder and moves the file from there. Where that is on another disk, as on most
clusters, the move is a copy onto the checkpoint that stands there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import torch
from pytorch_lightning.plugins import CheckpointIO, TorchCheckpointIO

from tests.checkpointing.states import is_same, state
from tests.durable.disks import faulty_disk, full, in_child, kill
from vlp.checkpointing.writer import CheckpointWriter

COMPONENTS = [
    pytest.param(
        TorchCheckpointIO,
        marks=pytest.mark.xfail(raises=AssertionError, reason="the stock component overwrites the file in place"),
    ),
    CheckpointWriter,
]
ROOM = (0, 1, 10_000)
"""Bytes of the second save that the disk takes; the whole is about 35,000."""


@contextlib.contextmanager
def temporary_folder_on_another_disk(folder: Path) -> Iterator[None]:
    """Make ``folder`` the system's temporary one; refuse to rename out of it, as the kernel does between disks."""
    folder.mkdir()
    rename = os.rename

    def refused(source: str, target: str) -> None:
        if os.path.dirname(source) != os.path.dirname(target):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source, None, target)
        rename(source, target)

    with mock.patch.object(os, "rename", refused), mock.patch.object(tempfile, "tempdir", str(folder)):
        yield


def loads_as(path: Path, step: int) -> bool:
    try:
        return is_same(torch.load(path, weights_only=True), state(step))
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError):
        return False


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("room", ROOM)
def test_a_kill_during_a_save_leaves_no_corrupt_file(tmp_path: Path, component: type[CheckpointIO], room: int):
    path = tmp_path / "checkpoints" / "last.ckpt"
    component().save_checkpoint(state(50), path)

    def save() -> None:
        with temporary_folder_on_another_disk(tmp_path / "tmp"), faulty_disk(path.parent, room, kill):
            component().save_checkpoint(state(100), path)

    ended = in_child(save)
    assert loads_as(path, 50)
    assert ended == -signal.SIGKILL


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("room", ROOM)
def test_a_full_disk_leaves_the_previous_good_checkpoint(tmp_path: Path, component: type[CheckpointIO], room: int):
    path = tmp_path / "checkpoints" / "last.ckpt"
    component().save_checkpoint(state(50), path)
    with (
        temporary_folder_on_another_disk(tmp_path / "tmp"),
        faulty_disk(path.parent, room, full),
        pytest.raises(OSError, match="No space left on device") as caught,
    ):
        component().save_checkpoint(state(100), path)
    assert loads_as(path, 50)
    assert caught.value.errno == errno.ENOSPC
