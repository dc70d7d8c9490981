"""What has been measured of an artefact."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tests.published.samples import VALUES, cell, subject
from vlp.published import ARTEFACTS, artefact_names
from vlp.reproduce.__main__ import states
from vlp.reproduce.naming import request
from vlp.reproduce.state import asked_of, cells_of, finished_records, state_of
from vlp.results import write_records


def finish(folder: Path, *cells: tuple[str, str, str], **of: Any) -> None:
    for probe, prober, model in cells:
        home = folder / "cells" / "-".join(map(str, (probe, prober, model, *of.values())))
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


def sweep(folder: Path, *words: str) -> None:
    OmegaConf.save({"hydra": {"overrides": {"task": ["experiment=value/table3", *words]}}}, folder / "multirun.yaml")


def test_a_seed_that_was_asked_for_has_every_cell(tmp_path: Path):
    cells = [(each["probe"], each["prober"], each["model"]) for each in cells_of("value/table3")]
    finish(tmp_path, *cells, seed=0)
    sweep(tmp_path, "seed=0")
    assert state_of("value/table3", tmp_path).words == "done: 8 cells"
    sweep(tmp_path, "seed=0,1,2")
    assert state_of("value/table3", tmp_path).words == "partly: 8 of 24 cells"
    finish(tmp_path, *cells, seed=2)
    finish(tmp_path, *cells[:3], seed=1)
    finish(tmp_path, *cells, seed=3)
    assert state_of("value/table3", tmp_path).words == "partly: 19 of 24 cells"


def test_a_size_that_was_asked_for_has_every_cell(tmp_path: Path):
    sweep(tmp_path, "size=tiny,base")
    finish(tmp_path, ("vcd", "attention", "uniter"), size="tiny")
    assert state_of("value/table3", tmp_path).words == "partly: 1 of 16 cells"


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ((), {}),
        (("seed=range(3)", "model=uniter", "~cache"), {"seed": ["0", "1", "2"]}),
        (("++seed=7", "size=small"), {"seed": ["7"], "size": ["small"]}),
    ],
)
def test_what_was_asked_for_is_read_as_hydra_reads_it(words: tuple[str, ...], asked: dict[str, Any], tmp_path: Path):
    sweep(tmp_path, *words)
    assert asked_of(tmp_path) == asked


@pytest.mark.parametrize("text", ["hydra: [", "hydra: {}", "a text", "\udcff", "hydra: {overrides: {task: 5}}"])
def test_a_damaged_file_of_a_sweep_is_told_and_any_seed_counts(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "multirun.yaml").write_text(text, "utf-8", "surrogateescape")
    assert asked_of(tmp_path) == {}
    assert f"{tmp_path / 'multirun.yaml'} does not say which seeds and sizes were asked for" in caplog.text


def test_every_artefact_of_the_papers_has_a_state(tmp_path: Path):
    found = {state.name: state.words for state in states(request(["all"], tmp_path))}
    assert tuple(found) == artefact_names()
    assert {name for name, words in found.items() if words != "not here yet: no experiment yet"} == set(ARTEFACTS)
