"""Several processes of one run end together, and the one the user reads says what of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from vlp.commands import ranks
from vlp.commands.messages import report
from vlp.commands.processes import PARENT
from vlp.commands.ranks import (
    LAST_WORDS,
    RankError,
    RankWatch,
    is_led,
    joins_another,
    leading,
    leave_stopped,
    leave_words,
    words_file,
)
from vlp.durable.stopping import Stopped

ROOT = Path(__file__).parents[2]
LOST = RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1234")


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have last words left in a folder."""
    monkeypatch.setenv(LAST_WORDS, str(tmp_path))
    return tmp_path


def ended(status: int, words: str = "", rank: int = 1) -> subprocess.Popen[bytes]:
    """Return a process of rank 1 that ended with ``status``, having left its last words."""
    if words:
        words_file(Path(os.environ[LAST_WORDS]), rank).write_text(words, "utf-8")
    end = f"os._exit({status})" if status >= 0 else f"os.kill(os.getpid(), {-status})"
    process = subprocess.Popen([sys.executable, "-c", f"import os; {end}"])
    process.wait()
    return process


def watch(*children: subprocess.Popen[bytes]) -> RankWatch:
    found = RankWatch()
    found.children = list(children)
    return found


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_a_process_knows_whose_work_it_shares_whoever_started_it(name: str, monkeypatch: pytest.MonkeyPatch):
    assert not joins_another()
    monkeypatch.setenv(name, "0")
    assert not joins_another()
    monkeypatch.setenv(name, "1")
    assert joins_another()


def test_the_processes_that_lightning_starts_find_the_one_they_belong_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with leading(tmp_path):
        assert (os.environ[PARENT], os.environ[LAST_WORDS]) == (str(os.getpid()), str(tmp_path))
        assert not is_led()
        monkeypatch.setenv("LOCAL_RANK", "2")
        assert is_led()
        with leading(tmp_path / "other"):
            leave_words("the end")
        assert words_file(tmp_path, 2).read_text("utf-8") == "the end"
        monkeypatch.delenv("LOCAL_RANK")
    assert PARENT not in os.environ
    assert LAST_WORDS not in os.environ


def test_last_words_that_nobody_waits_for_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    leave_words("unheard")
    monkeypatch.setenv(LAST_WORDS, str(tmp_path / "gone"))
    leave_words("unheard")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_a_process_that_is_led_is_told_by_the_one_that_leads(
    words: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert report(ValueError("no such scene")) == "no such scene"
    assert capsys.readouterr().err == ""
    assert words_file(words, 1).read_text("utf-8") == "no such scene"


@pytest.mark.parametrize(("rank", "status"), [("0", 143), ("1", 0)])
def test_rank_0_alone_tells_of_a_stop_all_have_agreed_on(
    rank: str, status: int, words: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert leave_stopped(Stopped("SIGTERM", Path("a.ckpt"), 3)) == status
    assert leave_stopped(Stopped("SIGTERM")) == 143


def test_a_lost_connection_is_told_as_the_death_it_comes_of(words: Path):
    told = watch(ended(0), ended(1, "no such scene", rank=2)).told(LOST)
    assert isinstance(told, RankError)
    assert str(told) == "rank 2 ended with status 1: no such scene"


def test_a_killed_rank_is_told_as_such(words: Path):
    assert str(watch(ended(-9)).told(LOST)) == "rank 1 ended with status -9: killed by SIGKILL"


def test_an_error_of_its_own_is_told_with_what_others_died_of(words: Path):
    error = ValueError("the gradient is not finite")
    assert watch(ended(1, "the loss of mlm is not finite")).told(error) is error
    assert error.__notes__ == ["(rank 1 ended with status 1: the loss of mlm is not finite)"]


def test_what_another_died_of_is_told_before_it_has_ended(words: Path):
    words_file(words, 1).write_text("no such scene", "utf-8")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        assert str(watch(child).told(LOST)) == "rank 1: no such scene"
        child.kill()


@pytest.mark.parametrize("other", ["no such scene", str(LOST)])
def test_an_error_that_others_have_too_or_come_to_feel_is_told_once(other: str, words: Path):
    error = ValueError("no such scene")
    assert watch(ended(1, other)).told(error) is error
    assert not hasattr(error, "__notes__")


def test_a_lost_connection_to_a_rank_that_lost_its_own_stays_what_it_is(words: Path, monkeypatch: pytest.MonkeyPatch):
    assert watch(ended(1, str(LOST))).told(LOST) is LOST


WAITING = """
    import os, subprocess, sys, time
    from pathlib import Path
    from vlp.commands import ranks
    from vlp.durable import stopping
    ranks.OWN_WORDS_S = 0.1
    stopping.install()
    watch = ranks.RankWatch()
    ranks.words_file(Path(os.environ[ranks.LAST_WORDS]), 1).write_text("no such scene")
    child = [sys.executable, "-c", "import sys, time; time.sleep(float(sys.argv[1])); sys.exit(int(sys.argv[2]))"]
    watch.start([subprocess.Popen([*child, "0", "{status}"]), subprocess.Popen([*child, "60", "0"])])
    {then}
    time.sleep(30 if {status} else 1)
    watch.is_over.set()
    watch.children[1].kill()
    print("went on")
"""


def wait(status: int, then: str = "") -> subprocess.CompletedProcess[str]:
    """Watch two ranks of which one ends with ``status`` while rank 0 would wait for ever."""
    script = dedent(WAITING).format(status=status, then=then)
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_rank_that_dies_takes_the_others_along(words: Path):
    done = wait(3)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: rank 1 ended with status 3: no such scene\n"
    assert words_file(words).read_text("utf-8") == "rank 1 ended with status 3: no such scene"


def test_a_rank_that_ends_well_takes_nobody_along(words: Path):
    done = wait(0)
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


def test_a_rank_that_dies_as_rank_0_ends_by_itself_is_its_own_to_tell(words: Path):
    done = wait(3, then="watch.is_over.set(); watch.children[1].kill(); raise SystemExit(5)")
    assert (done.returncode, done.stderr) == (5, "")


def test_what_takes_the_death_of_a_rank_for_a_lost_connection():
    for message in (str(LOST), "NCCL error: remote process exited", "DistNetworkError: Connection reset by peer"):
        assert ranks._LOST_CONNECTION.search(message)
    assert not ranks._LOST_CONNECTION.search("the loss of mlm is not finite")
