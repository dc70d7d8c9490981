"""The first signal stops a process, at once or when what is under way is saved; a second one ends it."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vlp.durable import stopping
from vlp.durable.stopping import MAX_TIME, Stopped, deferring, handing_on, install, note, received

ROOT = Path(__file__).parents[2]
SECOND = 2 * stopping.SAME_SIGNAL_S

pytestmark = pytest.mark.usefixtures("own_handlers")


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script that has this module's names, in a process of its own."""
    names = "import os, signal, sys, threading, time\nfrom vlp.durable.stopping import *\n"
    return subprocess.run(
        [sys.executable, "-c", names + script],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_at_once_where_nothing_is_under_way(number: signal.Signals, status: int):
    with pytest.raises(Stopped) as stopped:
        send(number)
    assert (stopped.value.reason, stopped.value.status) == (number.name, status)
    assert str(stopped.value) == f"stopped by {number.name}: nothing was under way that needs saving"
    assert not isinstance(stopped.value, Exception)


def test_a_signal_waits_for_the_end_of_what_is_under_way():
    reached = []

    def work() -> None:
        with deferring():
            reached.append(received())
            send(signal.SIGTERM)
            reached.append(received())

    with pytest.raises(Stopped):
        work()
    assert reached == [None, "SIGTERM"]


def test_what_is_under_way_in_something_else_waits_for_the_end_of_both():
    reached = []

    def work() -> None:
        with deferring():
            with deferring():
                send(signal.SIGINT)
            reached.append(received())

    with pytest.raises(Stopped):
        work()
    assert reached == ["SIGINT"]


def test_an_error_on_the_way_to_the_end_is_not_hidden():
    def work() -> None:
        with deferring():
            send(signal.SIGTERM)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()


def test_the_first_reason_stays_and_may_come_from_another_process():
    note("SIGINT")
    note("SIGTERM")
    assert received() == "SIGINT"


def test_a_signal_that_is_sent_twice_is_one():
    def work() -> None:
        with deferring():
            send(signal.SIGTERM)
            send(signal.SIGTERM)

    with pytest.raises(Stopped):
        work()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_the_process_at_once(number: signal.Signals, status: int):
    done = run(
        "install()\n"
        "with deferring():\n"
        f"    os.kill(os.getpid(), signal.SIGTERM); time.sleep({SECOND}); os.kill(os.getpid(), {int(number)})\n"
        "print('went on')"
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


def test_a_reason_from_elsewhere_is_no_first_signal():
    done = run(
        "install()\n"
        "try:\n"
        "    with deferring():\n"
        f"        note('SIGTERM'); time.sleep({SECOND}); os.kill(os.getpid(), signal.SIGTERM); print('saved')\n"
        "except Stopped as stopped:\n"
        "    sys.exit(stopped.status)"
    )
    assert (done.returncode, done.stdout) == (143, "saved\n")


@pytest.mark.parametrize(("environment", "status"), [({}, -signal.SIGUSR1), ({"SLURM_JOB_ID": "7"}, 138)])
def test_sigusr1_is_slurms_alone(environment: dict[str, str], status: int):
    script = "install()\ntry:\n    os.kill(os.getpid(), signal.SIGUSR1)\nexcept Stopped as s:\n    sys.exit(s.status)"
    assert run(script, **environment).returncode == status


def test_the_handlers_take_the_place_of_whatever_is_there():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    install()
    assert stopping.is_installed()
    with pytest.raises(Stopped):
        send(signal.SIGTERM)


def test_off_the_main_thread_nothing_is_installed():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    thread = threading.Thread(target=install)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_signals_end_a_process_as_any_once_its_work_is_done():
    assert run("install(); release(); os.kill(os.getpid(), signal.SIGTERM)").returncode == -signal.SIGTERM


def test_a_signal_is_handed_on_also_when_it_has_come_before():
    heard: list[int] = []

    def work() -> None:
        with deferring():
            with handing_on(heard.append):
                send(signal.SIGTERM)
            with handing_on(heard.append):
                assert len(heard) == 2

    with pytest.raises(Stopped):
        work()
    assert heard == [signal.SIGTERM, signal.SIGTERM]


def test_a_process_started_in_the_meantime_gets_a_signal_once_it_is_ready():
    done = run(
        "import subprocess\n"
        "child = 'import sys, time; from vlp.durable.stopping import *; time.sleep(1)\\n'\n"
        "child += 'try: install()\\nexcept Stopped as stopped: sys.exit(stopped.status)'\n"
        "with blocked(): process = subprocess.Popen([sys.executable, '-c', child])\n"
        "time.sleep(0.2); process.terminate(); sys.exit(process.wait())"
    )
    assert done.returncode == 143


WORKER = """
ready, go = os.pipe()
pid = os.fork()
if not pid:
    ignore_signals(0)
    ignore_signals(0)
    os.write(go, b'1')
    time.sleep(60)
os.read(ready, 1)
if os.fork() == 0:
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    os._exit(0)
os.wait()
time.sleep(0.3)
assert os.waitpid(pid, os.WNOHANG) == (0, 0), 'it ended with a signal to all'
os.kill(pid, signal.SIGTERM)
print(os.waitpid(pid, 0)[1])
"""


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="this system does not say who sends a signal")
def test_a_worker_outlives_a_signal_to_all_and_ends_with_that_of_its_parent():
    done = run(WORKER)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize(
    ("stopped", "status", "told"),
    [
        (Stopped("SIGTERM", Path("a.ckpt"), 3), 143, "stopped by SIGTERM at step 3, saved a.ckpt"),
        (Stopped(MAX_TIME, Path("a.ckpt"), 3), 0, "stopped by trainer.max_time at step 3, saved a.ckpt"),
        (Stopped("SIGUSR1", Path("last.ckpt")), 138, "stopped by SIGUSR1, saved last.ckpt"),
    ],
)
def test_it_says_by_what_and_what_was_saved(stopped: Stopped, status: int, told: str):
    copy = pickle.loads(pickle.dumps(stopped))
    assert [(found.status, str(found)) for found in (stopped, copy)] == [(status, told)] * 2
