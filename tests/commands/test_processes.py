"""Children that die with their parent, and get the signals that stop it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from vlp.commands.processes import Running, devices_for, run_child, running, stopping_together
from vlp.durable import stopping
from vlp.durable.locks import locked
from vlp.durable.stopping import Stopped


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills children with their parent; needs Linux to run")
def test_a_killed_parent_takes_its_child_and_its_locks_along(tmp_path: Path):
    child = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from vlp.commands.processes import die_with_parent\n"
        "from vlp.durable.locks import locked\n"
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


CHILD = """
import os, sys, time
from pathlib import Path
from vlp.durable import stopping
here = Path({here!r})
stopping.install()
(here / "ready").write_text(str(os.getsid(0) == os.getpid()))
try:
    time.sleep(60)
except stopping.Stopped as stopped:
    (here / "saved").write_text(stopped.reason)
    sys.exit(stopped.status)
"""


def once_ready(folder: Path, act: Callable[[], object]) -> None:
    """Call ``act`` in another thread as soon as the child says it is ready."""

    def wait() -> None:
        deadline = time.monotonic() + 30
        while not (folder / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        act()

    threading.Thread(target=wait).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_handed_on_to_the_child_which_the_terminal_does_not_reach(
    number: signal.Signals, tmp_path: Path, own_handlers: None
):
    once_ready(tmp_path, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Stopped) as stopped:
        run_child(["-c", CHILD.format(here=str(tmp_path))], os.environ)
    assert stopped.value.status == 128 + number
    assert (tmp_path / "saved").read_text() == number.name
    assert (tmp_path / "ready").read_text() == "True"


def test_a_child_of_another_process_of_the_sweep_gets_the_sweeps_signal(tmp_path: Path, own_handlers: None):
    statuses: list[int] = []
    arguments = ["-c", CHILD.format(here=str(tmp_path))]
    once_ready(tmp_path, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with suppress(Stopped), stopping.deferring(), stopping_together():
        worker = threading.Thread(target=lambda: statuses.append(run_child(arguments, os.environ)))
        worker.start()
        worker.join(timeout=60)
        assert statuses == [128 + signal.SIGTERM]
        sweep = running()
        assert sweep is not None
        assert sweep.stopped == signal.SIGTERM
        assert [file.name for file in sweep.folder.iterdir()] == [Running.STOPPED]
    assert (tmp_path / "saved").read_text() == "SIGTERM"
    assert running() is None


def test_a_child_that_is_noted_after_the_stop_is_sent_it_too(tmp_path: Path):
    sweep = Running(tmp_path)
    sweep.stop(signal.SIGTERM)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child, sweep.noting(child.pid):
        assert child.wait(timeout=30) == -signal.SIGTERM


@pytest.mark.parametrize(
    ("visible", "cell", "given"),
    [("0,1,2", 0, "0"), ("0,1,2", 4, "1"), ("7", 3, None), ("GPU-a,GPU-b", 1, "GPU-b")],
)
def test_cells_take_turns_on_the_gpus(visible: str, cell: int, given: str | None):
    expected = {} if given is None else {"CUDA_VISIBLE_DEVICES": given}
    assert devices_for(cell, {"CUDA_VISIBLE_DEVICES": visible}) == expected
