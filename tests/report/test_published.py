"""Printed tables and claims in the page and beside it."""

import csv
from pathlib import Path

import pytest

from tests.published.samples import table3
from tests.report.samples import HOSTILE
from vlp.published import ARTEFACTS, CellBeside, Measured, PublishedCell, judge, load, stand_beside, tables_beside
from vlp.report.published import (
    claims_for_page,
    footnote_marks,
    interval,
    items,
    shown,
    table_file,
    table_for_page,
    write_tables,
)

PRINTED = PublishedCell("row", "column", "52.04", "percent accuracy")


@pytest.fixture(scope="module")
def table() -> dict:
    (beside,) = stand_beside(ARTEFACTS["value/table3"], table3())
    return table_for_page(beside)


def test_the_layout_is_the_paper_s(table: dict):
    printed = load("value/table3")
    assert table["title"] == "Table 3"
    assert table["columns"] == printed.columns
    assert tuple(row for row, _ in table["rows"]) == printed.rows
    assert [[cell.printed for cell in cells] for _, cells in table["rows"]] == [
        [printed.find(row, column).text or "–" for column in printed.columns] for row in printed.rows
    ]


def test_ours_has_the_printed_digits_with_interval_and_items(table: dict):
    cell = dict(table["rows"])["144 Attention Heads"][2]
    assert (cell.printed, cell.ours, cell.interval) == ("75.10", "75.00", "[73.00, 77.00]")
    assert cell.items == "n 400, 1 seed, 2 prober seeds"
    assert cell.sort_key == pytest.approx(75.0)


def test_each_remark_is_told_once_and_marked_where_it_holds(table: dict):
    footnotes = dict(table["footnotes"])
    layer_1 = dict(table["rows"])["Layer 1"][0]
    assert footnotes[layer_1.marks] == "ours is layer 1 of 4, for layer 1 of 12"
    assert len(set(footnotes.values())) == len(footnotes)


def test_marks_go_on_after_z():
    cells = [type("Cell", (), {"remarks": (str(number),)}) for number in range(28)]
    assert [*footnote_marks(cells).values()][24:] == ["y", "z", "aa", "ab"]


def test_without_interval_or_probers_nothing_is_made_up():
    alone = Measured(54.0, None, None, n=10, num_seeds=3)
    assert (interval(alone, PRINTED), items(alone)) == ("", "n 10, 3 seeds")


def test_a_number_that_was_not_measured_is_a_dash():
    (beside,) = stand_beside(ARTEFACTS["value/table3"], table3()[:6])
    cell = beside.find("Layer 12", "VCC (SS)")
    found = shown(cell, footnote_marks(beside.cells))
    assert (found.printed, found.ours, found.items, found.sort_key) == ("93.44", "–", "", "")


def test_claims_that_were_tested_stand_apart_from_the_others():
    page = claims_for_page(judge(table3(), ["value"]))
    assert [each.claim.claim_id for each in page["tested"]] == ["V6"]
    ((paper, others),) = page["untested"].items()
    assert (paper, len(others)) == ("VALUE (Cao et al., ECCV 2020)", 8)


def test_files_hold_a_line_a_printed_cell_and_setting_and_one_a_claim(tmp_path: Path):
    records = [*table3(), *table3(size="base")]
    files = write_tables(tables_beside(records), judge(records, ["value"]), tmp_path)
    assert [file.name for file in files] == ["value_table3.csv", "claims.csv"]
    table, claims = ([*csv.DictReader(file.open(newline="", encoding="utf-8"))] for file in files)
    assert len(table) == 2 * 20
    assert [line["size"] for line in table] == ["tiny"] * 20 + ["base"] * 20
    assert (table[0]["row"], table[0]["unit"], table[0]["printed"]) == (
        "144 Attention Heads",
        "percent accuracy",
        "52.04",
    )
    assert [float(table[0][name]) for name in ("ours", "ci_low", "ci_high")] == pytest.approx([54.0, 52.0, 56.0])
    assert [(line["claim_id"], line["size"], line["verdict"]) for line in claims if line["size"]] == [
        ("V6", "tiny", "not testable here"),
        ("V6", "base", "not testable here"),
    ]
    assert {line["reason"].partition(".")[0] for line in claims if line["size"]} == {
        "generated data; on scenes: agrees"
    }
    assert len(claims) == 10


def test_a_hostile_word_in_a_file_is_one_cell(tmp_path: Path):
    (file, _) = write_tables(
        tables_beside(table3(dataset=HOSTILE)), judge(table3(dataset=HOSTILE), ["value"]), tmp_path
    )
    assert {line["dataset"] for line in csv.DictReader(file.open(newline="", encoding="utf-8"))} == {HOSTILE}


def test_a_file_s_name_is_the_table_s():
    assert table_file("visual_parsing/figure3") == "visual_parsing_figure3.csv"


@pytest.mark.parametrize(("value", "said"), [(4.49, "4.5"), (0.0233, "0.023"), (0.63, "0.63"), (0.0, "0.0")])
def test_a_number_much_smaller_than_the_printed_one_keeps_two_digits(value: float, said: str):
    printed = PublishedCell("row", "column", "4.1", "GMACs")
    assert shown(CellBeside(printed, Measured(value, None, None, 1, 1), ()), {}).ours == said
