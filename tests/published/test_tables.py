"""Printed tables, as they ship with the package."""

from importlib import resources
from pathlib import Path

import pytest

from vlp.published import PAPERS, PublishedCell, artefact_names, load
from vlp.published.tables import COLUMNS, read_lines


def test_every_file_that_came_with_the_papers_is_there_byte_for_byte(shared: Path):
    sources = shared / "published"
    if not sources.is_dir():
        pytest.skip(f"the published numbers are not at {sources}; put them there to run this test")
    files = sorted(path.relative_to(sources) for path in sources.rglob("*.csv"))
    ours = resources.files("vlp.published")
    assert len(files) == 44
    assert [str(file) for file in files if (ours / str(file)).read_bytes() != (sources / file).read_bytes()] == []


def test_all_four_papers_have_their_cells():
    tables = [load(name) for name in artefact_names()]
    cells = [cell for table in tables for cell in table.cells]
    assert len(tables) == 43
    assert (sum(cell.value is not None for cell in cells), sum(cell.value is None for cell in cells)) == (1157, 289)
    assert tuple(dict.fromkeys(table.paper for table in tables)) == PAPERS


@pytest.mark.parametrize("name", artefact_names())
def test_heads_name_one_cell_each_and_span_the_table(name: str):
    table = load(name)
    heads = [(cell.row, cell.column) for cell in table.cells]
    assert len(set(heads)) == len(heads)
    assert {row for row, _ in heads} == set(table.rows)
    assert all(cell.value is not None or cell.note for cell in table.cells)


def test_a_number_keeps_its_digits_unit_and_keyed_extras():
    cell = load("value/table2").find("single-stream people", "V->T")
    assert cell == PublishedCell(
        "single-stream people", "V->T", "0.165", "maximum attention weight", note="bold", extras={"head": "9-12"}
    )
    assert (cell.value, cell.digits, cell.scale, cell.remark) == (0.165, 3, 1.0, "")
    assert load("value/table5").find("SS", "SentLen").extras == {"layer": "2", "class": "surface"}


def test_fractions_become_percent_where_percent_is_printed():
    cell = load("value/table3").find("Layer 5", "VCC (SS)")
    assert (cell.text, cell.value, cell.scale, cell.digits) == ("94.05", 94.05, 100.0, 2)


def test_the_condition_none_is_a_word():
    assert "MLM, None ablated" in load("ablation/figure2").columns
    assert all(cell.row and cell.column for name in artefact_names() for cell in load(name).cells)


def test_what_the_paper_leaves_out_has_no_value_and_says_why():
    cell = load("value/table3").find("Layer 12", "VCD (TS)")
    assert (cell.value, cell.remark) == (None, "slash in the paper (no such layer)")


def test_an_unknown_name_is_told_with_those_there_are():
    with pytest.raises(ValueError) as caught:
        load("value/table9")
    assert str(caught.value).startswith("value/table9 is no published table or figure; there is value/figure3, ")


def test_other_columns_are_named(tmp_path: Path):
    file = tmp_path / "table.csv"
    file.write_text("row,value\n1,2\n")
    with pytest.raises(ValueError) as caught:
        list(read_lines(file, COLUMNS))
    assert str(caught.value) == (
        f"{file}: expected the columns row,column,value,unit,ci_low,ci_high,note, found row,value"
    )
