"""Locks that die with their holder, and children that die with their parent."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vlp.commands.processes import devices_for, locked, run_child


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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills children with their parent; needs Linux to run")
def test_a_killed_parent_takes_its_child_and_its_locks_along(tmp_path: Path):
    child = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from vlp.commands.processes import die_with_parent, locked\n"
        "die_with_parent(int(sys.argv[1]))\n"
        f"with locked(Path({str(tmp_path / 'lock')!r}), 'waiting'):\n"
        f"    Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "    time.sleep(60)\n"
    )
    parent = (
        "import os\n"
        "from vlp.commands.processes import run_child\n"
        f"run_child(['-c', {child!r}, str(os.getpid())], os.environ)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], cwd=Path(__file__).parents[2]) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
    taken = threading.Event()

    def take() -> None:
        with locked(tmp_path / "lock", "waiting"):
            taken.set()

    threading.Thread(target=take, daemon=True).start()
    assert taken.wait(timeout=20)


def test_a_child_that_fails_gives_its_status():
    assert run_child(["-c", "raise SystemExit(3)"], os.environ) == 3


def test_sigterm_reaches_the_child_and_ends_both(tmp_path: Path):
    child = (
        "import signal, sys, time\n"
        "from pathlib import Path\n"
        f"def saved(*_): Path({str(tmp_path / 'saved')!r}).touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, saved)\n"
        f"Path({str(tmp_path / 'ready')!r}).touch()\n"
        "time.sleep(60)\n"
    )

    def terminate() -> None:
        deadline = time.monotonic() + 30
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=terminate).start()
    with pytest.raises(SystemExit) as ended:
        run_child(["-c", child], os.environ)
    assert ended.value.code == 128 + signal.SIGTERM
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("visible", "cell", "given"),
    [("0,1,2", 0, "0"), ("0,1,2", 4, "1"), ("7", 3, None), ("GPU-a,GPU-b", 1, "GPU-b")],
)
def test_cells_take_turns_on_the_gpus(visible: str, cell: int, given: str | None):
    expected = {} if given is None else {"CUDA_VISIBLE_DEVICES": given}
    assert devices_for(cell, {"CUDA_VISIBLE_DEVICES": visible}) == expected
