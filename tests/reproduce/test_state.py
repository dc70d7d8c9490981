"""What has been measured of an artefact."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.published.samples import VALUES, cell, subject
from vlp.published import ARTEFACTS, artefact_names
from vlp.reproduce.__main__ import states
from vlp.reproduce.naming import request
from vlp.reproduce.state import cells_of, finished_records, state_of
from vlp.results import write_records


def finish(folder: Path, *cells: tuple[str, str, str], **of: str) -> None:
    for probe, prober, model in cells:
        home = folder / "cells" / f"{probe}-{prober}-{model}"
        home.mkdir(parents=True)
        write_records(home / "results.csv", cell(replace(subject(probe, prober, model), **of), VALUES[probe, prober]))


def test_table_3_has_exactly_these_eight_cells():
    cells = [(each["probe"], each["prober"], each["model"]) for each in cells_of("value/table3")]
    assert cells == [
        ("vcd", "attention", "uniter"),
        ("vcd", "attention", "lxmert"),
        ("vcd", "embedding", "uniter"),
        ("vcd", "embedding", "lxmert"),
        ("vcc", "attention", "uniter"),
        ("vcc", "attention", "lxmert"),
        ("vcc", "embedding", "uniter"),
        ("vcc", "embedding", "lxmert"),
    ]


@pytest.mark.parametrize("name", ARTEFACTS)
def test_every_printed_number_with_a_query_has_a_cell_that_measures_it(name: str):
    artefact = ARTEFACTS[name]
    cells = cells_of(artefact.experiment)
    queries = [query for row in artefact.rows for column in artefact.columns if (query := artefact.query(row, column))]
    assert [query for query in queries if not any({*cell.items()} <= {*query.columns.items()} for cell in cells)] == []


def test_an_experiment_that_is_no_sweep_is_told():
    with pytest.raises(ValueError) as caught:
        cells_of("scenes")
    assert str(caught.value) == "experiment=scenes sweeps over nothing: it has no hydra.sweeper.params"


def test_the_state_counts_finished_cells(tmp_path: Path):
    assert state_of("value/table3", tmp_path).words == "missing: 8 cells"
    finish(tmp_path, ("vcd", "attention", "uniter"), ("vcc", "embedding", "lxmert"))
    assert state_of("value/table3", tmp_path).words == "partly: 2 of 8 cells"
    rest = [tuple(each.values()) for each in cells_of("value/table3")]
    finish(tmp_path, *(each for each in rest if not (tmp_path / "cells" / "-".join(each)).exists()))
    assert state_of("value/table3", tmp_path).words == "done: 8 cells"


def test_a_cell_of_another_kind_is_not_counted(tmp_path: Path):
    finish(tmp_path, ("vcd", "attention", "uniter"))
    finish(tmp_path / "else", ("vcc", "attention", "uniter"))
    assert state_of("value/table3", tmp_path).done == 1
    assert finished_records(tmp_path / "nothing") == []


def test_random_weights_finish_no_cell(tmp_path: Path):
    finish(tmp_path, ("vcd", "attention", "uniter"), weights="random")
    assert state_of("value/table3", tmp_path).words == "missing: 8 cells"


def test_every_artefact_of_the_papers_has_a_state(tmp_path: Path):
    found = {state.name: state.words for state in states(request(["all"], tmp_path))}
    assert tuple(found) == artefact_names()
    assert {name for name, words in found.items() if words != "not here yet: no experiment yet"} == set(ARTEFACTS)
