"""The short part of ``make faults``: a few kills and storage faults, and SIGTERM to ``train.py``."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

COUNT = 3


def row(said: str, group: str) -> list[str]:
    """Return a group's numbers of cases, inputs, lost and silent."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines()]
    (found,) = (cells[1:-1] for cells in rows if cells and cells[0] == group)
    return found


def run(*arguments: str) -> str:
    """Return what ``python -m tests.faults`` says, which has to find nothing lost or silent."""
    command = [sys.executable, "-m", "tests.faults", "--only", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_nothing_is_lost_or_silent_under_a_few_kills_and_failing_disks():
    said = run("kills", "storage", "--count", str(COUNT))
    assert row(said, "kills") == [str(COUNT), str(4 * COUNT), "0", "0"]
    assert row(said, "storage") == [str(COUNT), str(COUNT), "0", "0"]


@pytest.mark.slow
def test_a_training_on_images_that_is_killed_ends_as_one_that_was_not():
    assert row(run("nlvr"), "nlvr") == ["3", "12", "0", "0"]


def test_a_training_that_is_terminated_ends_with_143_and_the_command_that_goes_on():
    assert row(run("signals", "--count", "1"), "signals") == ["1", "1", "0", "0"]
