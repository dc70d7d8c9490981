"""The short part of ``make faults``: a few kills and a few storage faults."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT

COUNT = 3


def row(said: str, group: str) -> list[str]:
    """Return a group's numbers of cases, inputs, lost and silent."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines()]
    (found,) = (cells[1:-1] for cells in rows if cells and cells[0] == group)
    return found


def test_nothing_is_lost_or_silent_under_a_few_kills_and_failing_disks():
    command = [sys.executable, "-m", "tests.faults", "--only", "kills", "storage", "--count", str(COUNT)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert row(done.stdout, "kills") == [str(COUNT), str(4 * COUNT), "0", "0"]
    assert row(done.stdout, "storage") == [str(COUNT), str(COUNT), "0", "0"]
