"""The short part of ``make faults``: a few kills and a few storage faults."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

COUNT = 5


@pytest.fixture(scope="module")
def harness() -> subprocess.CompletedProcess[str]:
    command = ["-m", "tests.faults", "--only", "kills", "storage", "--count", str(COUNT)]
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300)


def row(harness: subprocess.CompletedProcess[str], group: str) -> list[str]:
    """Return a group's numbers of cases, inputs, lost and silent."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in harness.stdout.splitlines()]
    (found,) = (cells[1:-1] for cells in rows if cells and cells[0] == group)
    return found


def test_trainings_and_measurements_survive_kills_to_the_bit(harness):
    assert row(harness, "kills") == [str(COUNT), str(4 * COUNT), "0", "0"], harness.stdout


def test_checkpoints_and_cells_survive_a_failing_disk_and_it_is_named(harness):
    cases, _, *failed = row(harness, "storage")
    assert int(cases) >= COUNT, harness.stdout
    assert failed == ["0", "0"], harness.stdout


def test_nothing_lost_and_nothing_silent_is_a_good_exit(harness):
    assert harness.returncode == 0, harness.stdout + harness.stderr
