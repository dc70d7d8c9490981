"""The harness itself: what is lost, silent, raises or hangs is found and counted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import __main__ as command
from tests.faults.case import Case, Verdict
from tests.faults.harness import carry_out, descendants
from tests.faults.kills import CHOICES, FORKED_TRAININGS, KILLS, STARTED_KILLS, Ordeal, cases, draw
from tests.faults.nursery import Child, Started, Watch
from tests.faults.runs import RUN, Subject

LINES = 20
COUNTING = f"""
import time
from pathlib import Path
file = Path("{RUN}/metrics.csv")
file.parent.mkdir(exist_ok=True)
done = file.read_text().splitlines() if file.exists() else []
FAULT
if done:
    print("going on from line", len(done), flush=True)
with file.open("a") as lines:
    for number in range(len(done), {LINES}):
        print(number, file=lines, flush=True)
        time.sleep(0.01)
"""


class Counting(Subject):
    """Counts in a file, a line at a time, and goes on where the file ends."""

    fault = ""
    command = ("count",)

    def start(self, folder: Path, log: Path, watch: Watch) -> Child:
        return Started(["-c", COUNTING.replace("FAULT", self.fault)], folder, log)

    def goes_on_from(self, folder: Path) -> str:
        file = folder / RUN / "metrics.csv"
        number = len(file.read_text().splitlines()) if file.exists() else 0
        return f"line {number}" if 0 < number < LINES else ""

    def damage(self, folder: Path, reference: Path) -> Iterator[str]:
        return iter(())

    def differences(self, folder: Path, reference: Path) -> Iterator[str]:
        ours, theirs = (place / RUN / "metrics.csv" for place in (folder, reference))
        if ours.read_text() != theirs.read_text():
            yield "other lines"


class Forgetting(Counting):
    """Begins anew."""

    fault = "done = []; file.unlink(missing_ok=True)"


class Repeating(Counting):
    """Forgets its last line, and counts it again."""

    fault = "done = done[:-1]"


def end_without_verdict(folder: Path) -> Verdict:
    os._exit(3)


def fail(folder: Path) -> Verdict:
    raise KeyError("a planted error")


def hang(folder: Path) -> Verdict:
    subprocess.run(["sleep", "600"], check=True)
    return Verdict(True, True)


def leave_an_orphan(folder: Path) -> Verdict:
    shell = subprocess.run(
        ["sh", "-c", "sleep 600 > /dev/null 2>&1 & echo $!"], capture_output=True, text=True, check=True
    )
    return Verdict(True, True, shell.stdout)


def case(run, name="planted"):
    return Case("kills", name, run)


def outcome(run, folder, **limits):
    (found,) = carry_out([case(run)], folder / "cases", **limits)
    return found


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_case_gets_an_empty_folder_and_its_verdict_comes_back(tmp_path):
    found = outcome(lambda folder: Verdict(not any(folder.iterdir()), False, "said", inputs=7), tmp_path)
    assert found.verdict == Verdict(True, False, "said", inputs=7)
    assert not found.is_good


def test_a_case_that_raises_is_lost_and_shows_its_traceback(tmp_path):
    verdict = outcome(fail, tmp_path).verdict
    assert (verdict.survived, verdict.told) == (False, True)
    assert verdict.detail.endswith("KeyError: 'a planted error'\n")


def test_a_case_whose_process_ends_without_a_verdict_is_lost(tmp_path):
    verdict = outcome(end_without_verdict, tmp_path).verdict
    assert not verdict.survived
    assert verdict.detail == "no verdict, exit status 3:\n"


def test_a_case_that_hangs_is_killed_with_what_it_started_and_is_lost(tmp_path):
    before = descendants(os.getpid())
    verdict = outcome(hang, tmp_path, limit_s=0.5).verdict
    assert not verdict.survived
    assert verdict.detail.startswith(f"no verdict, exit status {-signal.SIGKILL}:")
    assert set(descendants(os.getpid())) <= set(before)


def test_what_a_case_leaves_running_ends_with_it(tmp_path):
    orphan = int(outcome(leave_an_orphan, tmp_path).verdict.detail)
    until = time.monotonic() + 10
    while is_running(orphan) and time.monotonic() < until:
        time.sleep(0.01)
    assert not is_running(orphan)


@pytest.mark.parametrize(
    ("runs", "status", "row"),
    [
        ([lambda _: Verdict(True, True, inputs=3)], 0, ["kills", "1", "3", "0", "0"]),
        ([lambda _: Verdict(True, True), lambda _: Verdict(False, True)], 1, ["kills", "2", "2", "1", "0"]),
        ([lambda _: Verdict(True, True), lambda _: Verdict(True, False)], 1, ["kills", "2", "2", "0", "1"]),
        ([fail], 1, ["kills", "1", "1", "1", "0"]),
    ],
    ids=["good", "lost", "silent", "raising"],
)
def test_the_table_counts_what_was_lost_and_silent_and_the_status_says_whether_any_was(
    runs, status, row, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(command, "cases_of", lambda *_: [case(run) for run in runs])
    log = tmp_path / "log"
    assert command.main(["--only", "kills", "--folder", str(tmp_path / "cases"), "--log", str(log)]) == status
    said = capsys.readouterr().out
    assert ("kills: planted: " in said) == bool(status)
    assert row in [[cell.strip() for cell in line.split("│")[1:-2]] for line in said.splitlines()]
    assert log.read_text().count("kills: planted: ") == len(runs)


def test_a_failed_case_is_named_with_its_detail(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "cases_of", lambda *_: [case(lambda _: Verdict(False, False, "bit 3 of [x]"), "flip")])
    command.main(["--only", "kills", "--folder", str(tmp_path / "cases")])
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first.startswith("kills: flip: lost and silent (")
    assert second == "bit 3 of [x]"


def test_kills_are_a_group_and_the_modules_beside_it_are_none():
    found = command.groups()
    assert "kills" in found
    assert {"harness", "nursery", "case", "runs"}.isdisjoint(found)


def test_a_module_without_cases_is_no_group():
    with pytest.raises(ValueError) as error:
        command.cases_of("harness", 0, None)
    assert str(error.value).startswith("--only harness: no such group; there are ")


def ordeal(kind, folder, kills=5):
    return Ordeal(kind(is_forked=False), folder, random.Random(0)).verdict(kills)


def test_a_command_that_goes_on_exactly_survives_its_kills(tmp_path):
    verdict = ordeal(Counting, tmp_path)
    assert (verdict.survived, verdict.told, verdict.inputs) == (True, True, 5), verdict.detail


def test_a_command_that_begins_anew_unsaid_is_silent_though_it_ends_the_same(tmp_path):
    verdict = ordeal(Forgetting, tmp_path)
    assert (verdict.survived, verdict.told) == (True, False), verdict.detail
    assert "it did not say that it goes on from line " in verdict.detail


def test_a_command_that_does_a_step_twice_is_lost(tmp_path):
    verdict = ordeal(Repeating, tmp_path)
    assert not verdict.survived
    assert "other lines" in verdict.detail


def test_there_are_two_hundred_kills_twenty_of_them_at_the_command_line():
    found = cases(0)
    started = [case for case in found if case.name.startswith("train.py ")]
    assert len(started) * STARTED_KILLS == 20
    assert (len(found) - len(started)) * KILLS + len(started) * STARTED_KILLS == 200


def test_the_seed_decides_what_is_killed():
    names = [case.name for case in cases(0)]
    assert len(set(names)) == len(names)
    assert [case.name for case in cases(0)] == names
    assert [case.name for case in cases(1)] != names
    assert [case.name for case in cases(0, count=3)] == names[:3]


@pytest.mark.parametrize("kind", CHOICES)
def test_every_choice_of_a_kind_is_drawn_equally_often(kind):
    drawn = draw(FORKED_TRAININGS, seed=0)
    counts = [sum(set(overrides) <= set(row) for row in drawn) for overrides in CHOICES[kind] if overrides]
    assert min(counts) >= FORKED_TRAININGS // len(CHOICES[kind])
    assert max(counts) <= FORKED_TRAININGS // len(CHOICES[kind]) + 1
