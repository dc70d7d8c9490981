"""Checkpoint files: whole, verified, plain."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import zipfile
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.checkpointing.states import holds, is_same, state
from tests.durable.disks import (
    broken,
    cut,
    failing,
    faulty_disk,
    flip,
    full,
    in_child,
    kill,
    make_read_only,
    small_disk,
)
from vlp.checkpointing.writer import CheckpointWriter, plain, verify
from vlp.durable.digests import DamagedError, HashingWriter, check_digest, sidecar
from vlp.durable.files import StorageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / "step-0000050.ckpt"


@pytest.fixture
def size(path: Path) -> int:
    """Write the checkpoint of step 50 and return its bytes."""
    CheckpointWriter().save_checkpoint(state(50), path)
    return path.stat().st_size


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_loaded_to_the_bit_and_verified(path: Path, size: int):
    assert holds(path, 50)
    assert check_digest(path) is True
    assert names(path.parent) == ["step-0000050.ckpt", "step-0000050.ckpt.sha256"]


def test_the_file_is_what_torch_reads_without_running_code(path: Path, size: int):
    loaded = torch.load(path, weights_only=True)
    assert is_same(loaded, state(50))
    assert loaded["state_dict"]._metadata == state(50)["state_dict"]._metadata


def test_equal_states_give_equal_files(path: Path, size: int):
    before = path.read_bytes()
    CheckpointWriter().save_checkpoint(state(50), path)
    assert path.read_bytes() == before


class Pieces(io.BytesIO):
    """Notes how long each piece is that is written."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def write(self, data: Any) -> int:
        assert isinstance(data, memoryview)
        self.lengths.append(len(data))
        return super().write(data)


def test_a_weight_is_handed_on_as_it_lies_in_memory():
    pieces = Pieces()
    torch.save({"weight": torch.zeros(1000, 1000)}, HashingWriter(pieces))
    assert max(pieces.lengths) == 4_000_000


ROOM = (0, 1, 70, 4096, 9999, 20_000, -1)
"""Bytes a disk takes before it fails; negative counts from the end of what a save writes."""


@pytest.mark.parametrize("room", ROOM)
@pytest.mark.parametrize("fault", [full, broken])
def test_a_disk_that_fails_at_any_byte_leaves_what_was_there(path: Path, size: int, room: int, fault: Callable):
    following = path.with_name("step-0000100.ckpt")
    room = size + room if room < 0 else room
    with faulty_disk(path.parent, room, fault), pytest.raises(StorageError) as caught:
        CheckpointWriter().save_checkpoint(state(100), following)
    assert caught.value.errno == {full: errno.ENOSPC, broken: errno.EIO}[fault]
    assert str(caught.value).startswith(f"{following} cannot be written: {os.strerror(caught.value.errno)} (")
    assert holds(path, 50)
    assert names(path.parent) == ["step-0000050.ckpt", "step-0000050.ckpt.sha256"]


@pytest.mark.parametrize("room", ROOM)
def test_a_disk_that_fails_while_a_checkpoint_is_replaced_leaves_the_old_one(path: Path, size: int, room: int):
    room = size + room if room < 0 else room
    with faulty_disk(path.parent, room, full), pytest.raises(StorageError):
        CheckpointWriter().save_checkpoint(state(51), path)
    assert holds(path, 50)
    assert names(path.parent) == ["step-0000050.ckpt", "step-0000050.ckpt.sha256"]


@pytest.mark.parametrize("call", range(9))
@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_kill_at_any_step_of_replacing_leaves_the_old_or_the_new_one(path: Path, size: int, name: str, call: int):
    def save() -> None:
        with failing(name, kill, after=call):
            CheckpointWriter().save_checkpoint(state(51), path)

    ended = in_child(save)
    assert ended in (None, -signal.SIGKILL)
    assert check_digest(path) is True
    assert holds(path, 50) or holds(path, 51)
    assert holds(path, 51) or ended == -signal.SIGKILL


@pytest.mark.parametrize("room", ROOM)
def test_a_kill_at_any_byte_leaves_no_checkpoint_or_a_whole_one(path: Path, size: int, room: int):
    following = path.with_name("step-0000100.ckpt")
    room = size + room if room < 0 else room

    def save() -> None:
        with faulty_disk(path.parent, room, kill):
            CheckpointWriter().save_checkpoint(state(100), following)

    assert in_child(save) == -signal.SIGKILL
    assert not following.exists()
    assert holds(path, 50)


def test_told_to_go_on_a_failed_save_is_logged_and_remembered(path: Path, size: int, caplog: pytest.LogCaptureFixture):
    writer = CheckpointWriter(on_error="continue")
    with caplog.at_level(logging.ERROR), faulty_disk(path.parent, 100, full):
        writer.save_checkpoint(state(100), path.with_name("step-0000100.ckpt"))
    assert isinstance(writer.error, StorageError)
    assert writer.error.errno == errno.ENOSPC
    assert caplog.messages == [f"{writer.error}; the run goes on without it"]
    writer.save_checkpoint(state(150), path.with_name("step-0000150.ckpt"))
    assert writer.error is None


def test_on_a_disk_that_is_read_only_the_run_goes_on_if_told_to(tmp_path: Path):
    with small_disk(tmp_path / "disk", 1 << 20) as is_mounted:
        if not is_mounted:
            pytest.skip("this user may not mount a disk; run as root to end this")
        make_read_only(tmp_path / "disk")
        writer = CheckpointWriter(on_error="continue")
        writer.save_checkpoint(state(50), tmp_path / "disk" / "step-0000050.ckpt")
    assert writer.error is not None
    assert writer.error.errno == errno.EROFS


def test_an_unknown_way_to_go_on_is_refused():
    with pytest.raises(ValueError) as caught:
        CheckpointWriter(on_error="ignore")
    assert str(caught.value) == "on_error='ignore': expected stop or continue"


def test_plain_types_and_what_is_turned_into_them(path: Path):
    rich = {
        "none": None,
        "numbers": [True, 3, 10**30, 0.1, float("inf"), np.float32(0.5), np.int64(7), np.bool_(True)],
        "words": ("a", Path("b/c")),
        "torch": [torch.Size([2, 3]), torch.bfloat16, torch.device("cpu"), torch.tensor([1, 2], dtype=torch.int8)],
        7: OrderedDict(a=torch.zeros(0)),
    }
    CheckpointWriter().save_checkpoint(rich, path)
    loaded = CheckpointWriter().load_checkpoint(path)
    turned = [True, 3, 10**30, 0.1, float("inf"), 0.5, 7, True]
    assert loaded["numbers"] == turned
    assert [type(number) for number in loaded["numbers"]] == [type(number) for number in turned]
    assert is_same(loaded, {**rich, "numbers": turned, "words": ("a", "b/c")})


def test_a_parameter_and_an_expanded_tensor_become_the_values_alone(path: Path):
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.owner = "someone"
    CheckpointWriter().save_checkpoint({"a": parameter, "b": torch.ones(1).expand(100_000)}, path)
    assert is_same(CheckpointWriter().load_checkpoint(path), {"a": torch.ones(3), "b": torch.ones(100_000)})


Point = namedtuple("Point", "x y")


class Strange(torch.Tensor):
    pass


@pytest.mark.parametrize(
    ("value", "where", "kind"),
    [
        ({"a": [1, {2}]}, "checkpoint['a'][1]", "builtins.set"),
        ({"a": Point(1, 2)}, "checkpoint['a']", f"{__name__}.Point"),
        ({"a": defaultdict(int)}, "checkpoint['a']", "collections.defaultdict"),
        ({"a": {"b": np.zeros(3)}}, "checkpoint['a']['b']", "numpy.ndarray"),
        ({"a": np.longdouble(1)}, "checkpoint['a']", "numpy.longdouble"),
        ({"a": torch.ones(2).as_subclass(Strange)}, "checkpoint['a']", f"{__name__}.Strange"),
        ({"a": torch.eye(2).to_sparse()}, "checkpoint['a']", "torch.Tensor"),
        ({("a", frozenset()): 1}, "a key of checkpoint[1]", "builtins.frozenset"),
        ({"a": print}, "checkpoint['a']", "builtins.builtin_function_or_method"),
    ],
)
def test_what_is_not_plain_is_refused_by_its_key_path_and_type(path: Path, value: Any, where: str, kind: str):
    with pytest.raises(TypeError) as caught:
        CheckpointWriter().save_checkpoint(value, path)
    assert str(caught.value) == f"{where} is a {kind}: a checkpoint holds plain types and tensors"
    assert not path.parent.exists()


def test_plain_data_are_left_as_they_are():
    given = state(3)
    assert is_same(plain(given), given)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_is_refused_by_name(path: Path, size: int, damage: str):
    {"cut": lambda: cut(path, size // 2), "flip": lambda: flip(path, 4 * size), "empty": lambda: cut(path, 0)}[damage]()
    with pytest.raises(DamagedError) as caught:
        CheckpointWriter().load_checkpoint(path)
    assert str(caught.value).startswith(f"{path} is damaged: its sha256 is ")


def test_without_its_sidecar_the_checksums_within_are_checked(path: Path, size: int, caplog: pytest.LogCaptureFixture):
    sidecar(path).unlink()
    assert holds(path, 50)
    told = f"{path} has no step-0000050.ckpt.sha256: only the checksums within it are checked"
    assert caplog.messages == [told]
    with zipfile.ZipFile(path) as archive:
        part = next(info for info in archive.infolist() if info.file_size == 6400)
    flip(path, 8 * (part.header_offset + 1000))
    with pytest.raises(DamagedError) as caught:
        verify(path)
    assert str(caught.value) == f"{path} is damaged: the checksum of its part {part.filename} is wrong"


def test_without_its_sidecar_a_checkpoint_cut_short_is_refused(path: Path, size: int):
    sidecar(path).unlink()
    for left in (0, 1, size // 2, size - 1):
        cut(path, left)
        with pytest.raises(DamagedError) as caught:
            verify(path)
        assert str(caught.value) == f"{path} is cut short or damaged: File is not a zip file"


def test_a_missing_checkpoint_is_named(path: Path):
    with pytest.raises(FileNotFoundError) as caught:
        CheckpointWriter().load_checkpoint(path)
    assert caught.value.filename == str(path)


def test_reading_elsewhere_or_with_code_is_refused(path: Path, size: int):
    with pytest.raises(ValueError) as caught:
        CheckpointWriter().load_checkpoint(path, weights_only=False)
    asked = "asked for map_location=None, weights_only=False"
    assert str(caught.value) == f"{path}: checkpoints are read to the CPU, without running code; {asked}"


def test_removing_takes_the_sidecar_along_and_nothing_else(path: Path, size: int):
    path.with_name("other").touch()
    CheckpointWriter().remove_checkpoint(path)
    CheckpointWriter().remove_checkpoint(path)
    assert names(path.parent) == ["other"]


def test_a_damaged_checkpoint_stays_one_when_what_was_to_replace_it_is_cut_off(path: Path, size: int):
    path.write_bytes(path.read_bytes()[:-50])
    with failing("replace", full, after=1), pytest.raises(StorageError):  # the sidecar's rename comes first
        CheckpointWriter().save_checkpoint(state(60), path)
    with pytest.raises(DamagedError):
        verify(path)
