from pathlib import Path

import pytest

from tests.report.samples import NMI, RUN, nmi_rows, records
from vlp.report.provenance import duration, provenance, size
from vlp.report.reading import Cell


def test_what_a_run_records_is_told_in_words_and_its_config_apart():
    run = {**RUN, "config": {"model": {"name": "uniter"}}, "weights": None, "of_a_plugin": [1, 2]}
    found = provenance(Cell(Path("cells/abc"), tuple(records(NMI, nmi_rows())), run))
    assert found.title == "Cell abc: nmi · uniter · last-1a2b3c4d · scenes"
    lines = dict(found.lines)
    assert lines["wall time"] == "1 min 4 s"
    assert lines["peak memory"] == "900 MiB"
    assert lines["versions"] == "python 3.11.7, torch 2.15.0"
    assert lines["weights, sha256"] == "1a2b3c4d" * 8
    assert lines["of a plugin"] == "1\n2"
    assert "weights" not in lines
    assert [name for name, _ in found.attachments] == ["config"]


def test_the_command_of_one_cell_stands_before_its_sweep_s():
    run = {"command": "python probe.py -m model=a,b", "own_command": "python probe.py model=a", "prober_seeds": [0, 1]}
    assert provenance(Cell(Path("abc"), tuple(records(NMI, nmi_rows())), run)).lines == (
        ("this run alone", "python probe.py model=a"),
        ("asked for by", "python probe.py -m model=a,b"),
        ("prober seeds", "0, 1"),
    )


def test_a_run_without_a_record_has_no_lines():
    assert provenance(Cell(Path("abc"), tuple(records(NMI, nmi_rows())))).lines == ()


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.25, "0.2 s"), (59.4, "59.4 s"), (64.2, "1 min 4 s"), (3725, "1 h 2 min")]
)
def test_times_in_words(seconds: float, words: str):
    assert duration(seconds) == words


@pytest.mark.parametrize(("num_bytes", "words"), [(900 * 2**20, "900 MiB"), (3 * 2**29, "1.50 GiB")])
def test_sizes_in_words(num_bytes: int, words: str):
    assert size(num_bytes) == words
