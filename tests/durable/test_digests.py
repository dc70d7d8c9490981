"""Digests beside files."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.durable.disks import cut, flip, unreadable
from vlp.durable.digests import (
    DamagedError,
    HashingWriter,
    check_digest,
    file_digest,
    sidecar,
    state_key,
    write_sidecar,
)

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""The sha256 of "abc", from FIPS 180-2."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(os.urandom(1000))
    write_sidecar(path, file_digest(path))
    return path


def test_the_digest_is_the_published_one_read_or_passed_on(tmp_path: Path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_digest(tmp_path / "abc") == ABC
    passed = io.BytesIO()
    writer = HashingWriter(passed)
    assert [writer.write(b"ab"), writer.write(memoryview(b"c"))] == [2, 1]
    assert (writer.hexdigest(), passed.getvalue()) == (ABC, b"abc")


def test_a_file_without_a_sidecar_is_not_verified(tmp_path: Path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert check_digest(tmp_path / "abc") is False


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here; coreutils has it")
def test_the_sidecar_is_what_sha256sum_checks(file: Path):
    assert check_digest(file) is True
    done = subprocess.run(["sha256sum", "-c", sidecar(file).name], cwd=file.parent, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "weights.bin: OK\n")


@pytest.mark.parametrize(
    "damage", [lambda file: cut(file, 999), lambda file: cut(file, 0), lambda file: flip(file, 4242)]
)
def test_a_damaged_file_is_told_with_what_was_found_and_expected(file: Path, damage):
    expected = file_digest(file)
    flip(file, 4242)
    with pytest.raises(DamagedError) as caught:
        check_digest(file)
    assert str(caught.value) == f"{file} is damaged: its sha256 is {file_digest(file)}, expected {expected}"


def test_a_file_that_is_being_replaced_may_be_either(file: Path):
    before, new = file_digest(file), hashlib.sha256(b"new").hexdigest()
    write_sidecar(file, new, before)
    assert check_digest(file) is True
    file.write_bytes(b"new")
    assert check_digest(file) is True
    file.write_bytes(b"neither")
    with pytest.raises(DamagedError) as caught:
        check_digest(file)
    assert str(caught.value).endswith(f"expected {new} or {before}")


def test_a_sidecar_without_a_digest_is_told(file: Path):
    cut(sidecar(file), 63)
    with pytest.raises(DamagedError) as caught:
        check_digest(file)
    assert str(caught.value) == (
        f"{sidecar(file)} is damaged: expected a sha256 of 64 digits, found {file_digest(file)[:63]!r}"
    )


def test_what_a_link_leads_to_is_verified(file: Path):
    link = file.with_name("last.bin")
    link.symlink_to(file.name)
    assert check_digest(link) is True
    flip(file, 0)
    with pytest.raises(DamagedError):
        check_digest(link)


def test_a_file_that_cannot_be_read_is_named(file: Path):
    with unreadable(file), pytest.raises(OSError) as caught:
        check_digest(file)
    assert str(caught.value) == f"[Errno 5] Input/output error: '{file}'"


def test_a_key_tells_files_and_their_states_apart(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text("same")
    first, second = tmp_path / "a", tmp_path / "b"
    keys = {state_key("x"), state_key("y"), state_key("x", files=[first]), state_key("x", files=[second])}
    assert len(keys) == 4
    assert state_key("x", files=[first]) == state_key("x", files=[first])
