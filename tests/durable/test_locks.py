"""Locks that die with their holder."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.durable.disks import in_child, kill
from vlp.durable.locks import locked


def test_the_second_to_ask_waits_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path / "lock", "waiting for the first"):
            order.append("second")

    with caplog.at_level(logging.WARNING), locked(tmp_path / "lock", "never said"):
        thread = threading.Thread(target=second)
        thread.start()
        deadline = time.monotonic() + 10
        while not caplog.messages and time.monotonic() < deadline:
            time.sleep(0.01)
        order.append("first")
    thread.join(timeout=10)
    assert order == ["first", "second"]
    assert caplog.messages == ["waiting for the first"]


def test_a_lock_is_free_again_after_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock", ""):
        raise ZeroDivisionError
    with locked(tmp_path / "lock", "waiting"):
        assert caplog.messages == []


def test_a_lock_is_free_again_when_its_holder_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    def hold() -> None:
        with locked(tmp_path / "lock", ""):
            (tmp_path / "held").write_text(str(os.getpid()))
            kill()

    assert in_child(hold) == -signal.SIGKILL
    assert (tmp_path / "held").exists()
    with locked(tmp_path / "lock", "waiting"):
        assert caplog.messages == []
