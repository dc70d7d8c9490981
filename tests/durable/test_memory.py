"""Arrays that are worked out once: found again, made anew when a file changes or the memory is damaged or closed."""

import os

import numpy as np
import pytest

from vlp.durable.memory import remembered_arrays


@pytest.fixture
def memory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vlp" / "sums-1"


@pytest.fixture
def counted(tmp_path):
    file = tmp_path / "numbers.txt"
    file.write_text("1 2 3")
    calls = []

    def compute():
        calls.append(file.read_text())
        return {"sum": np.array(sum(map(int, calls[-1].split()))), "none": np.zeros((0, 2), dtype=np.int8)}

    return file, calls, lambda: remembered_arrays("sums-1", [file], compute)


def test_what_was_worked_out_is_found_again(memory, counted):
    _, calls, remembered = counted
    for _ in range(2):
        arrays = remembered()
        assert (int(arrays["sum"]), arrays["none"].shape, arrays["none"].dtype) == (6, (0, 2), np.int8)
    assert calls == ["1 2 3"]


def test_a_file_that_changed_is_read_again(memory, counted):
    file, calls, remembered = counted
    remembered()
    file.write_text("1 2 4")
    os.utime(file, ns=(1, 1))
    assert int(remembered()["sum"]) == 7
    assert calls == ["1 2 3", "1 2 4"]


@pytest.mark.parametrize("damage", [b"", b"no archive", "half", "a bit"])
def test_a_damaged_memory_is_made_anew(memory, counted, damage):
    _, calls, remembered = counted
    remembered()
    (place,) = memory.iterdir()
    content = bytearray(place.read_bytes())
    if damage == "a bit":
        content[content.index(b"\x06\0\0\0\0\0\0\0")] ^= 1
    place.write_bytes({"half": content[: len(content) // 2], "a bit": content}.get(damage, damage))
    assert int(remembered()["sum"]) == 6
    assert len(calls) == 2
    remembered()
    assert len(calls) == 2


def test_a_folder_that_takes_nothing_costs_time_only(memory, counted, caplog):
    _, calls, remembered = counted
    memory.parent.mkdir(parents=True)
    memory.write_text("a file where the folder should be")
    assert [int(remembered()["sum"]) for _ in range(2)] == [6, 6]
    assert len(calls) == 2
    assert "it is worked out anew each time" in caplog.messages[0]
