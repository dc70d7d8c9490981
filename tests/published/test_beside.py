"""Measured rows beside printed numbers."""

from dataclasses import replace

import pytest

from tests.published.samples import VALUES, cell, subject, table3
from vlp.published import ARTEFACTS, TableBeside, load, stand_beside
from vlp.published.artefacts import Query
from vlp.published.beside import look_up, relative_layer

TABLE3 = ARTEFACTS["value/table3"]


@pytest.fixture(scope="module")
def beside() -> TableBeside:
    (table,) = stand_beside(TABLE3, table3())
    return table


@pytest.mark.parametrize("name", ARTEFACTS)
def test_every_printed_head_has_its_query_and_no_other(name: str):
    artefact, printed = ARTEFACTS[name], load(name)
    assert tuple(artefact.rows) == printed.rows
    left_out = [column for column in printed.columns if column not in artefact.columns]
    assert [*artefact.columns] == [column for column in printed.columns if column not in left_out]
    assert all(any(remark.startswith(column.partition(" ")[0]) for remark in artefact.remarks) for column in left_out)


def test_heads_of_the_table_are_the_printed_ones_in_their_order(beside: TableBeside):
    assert [cell.printed for cell in beside.cells] == list(load("value/table3").cells)


def test_ours_stands_in_the_printed_unit_with_interval_items_and_seeds(beside: TableBeside):
    ours = beside.find("144 Attention Heads", "VCC (SS)").ours
    assert (ours.value, ours.low, ours.high) == pytest.approx((75.0, 73.0, 77.0))
    assert (ours.n, ours.num_seeds, ours.num_prober_seeds, ours.layer) == (400, 1, 2, None)


@pytest.mark.parametrize(
    ("row", "column", "value", "layer"),
    [
        ("Layer 1", "VCD (SS)", 57.1, 1),
        ("Layer 5", "VCD (SS)", 57.2, 2),
        ("Layer 12", "VCD (SS)", 57.4, 4),
        ("Layer 1", "VCC (TS)", 93.1, 1),
        ("Layer 5", "VCC (TS)", 93.2, 2),  # the last of the paper's five cross layers
    ],
)
def test_a_printed_layer_is_looked_up_at_its_relative_depth(
    beside: TableBeside, row: str, column: str, value: float, layer: int
):
    found = beside.find(row, column)
    assert (found.ours.value, found.ours.layer) == (pytest.approx(value), layer)
    assert any(f"ours is layer {layer} of " in remark for remark in found.remarks)


def test_guessing_needs_no_layer(beside: TableBeside):
    assert [beside.find("Random Guess", column).ours.value for column in TABLE3.columns] == [50, 50, 12.5, 12.5]


def test_where_the_paper_has_no_such_layer_nothing_of_ours_stands(beside: TableBeside):
    assert beside.find("Layer 12", "VCD (TS)").ours is None


def test_layers_are_their_own_where_depths_are_equal_and_go_from_first_to_last_where_not():
    assert [relative_layer(layer, 12, 12) for layer in (1, 5, 12)] == [1, 5, 12]
    assert [relative_layer(layer, 5, 10) for layer in (1, 3, 5)] == [1, 5, 10]
    assert [relative_layer(layer, 12, 1) for layer in (1, 5, 12)] == [1, 1, 1]


def test_what_cannot_be_compared_is_said_with_its_reason(beside: TableBeside):
    reasons = " ".join(beside.reasons)
    assert beside.setting.words == "scenes, tiny"
    assert "scenes is a generated world of drawn shapes and templated captions; the paper has Flickr30k" in reasons
    assert "Weights: lxmert lxmert-1a2b3c4d, uniter uniter-1a2b3c4d; the paper has the released" in reasons
    assert "models here are tiny, the paper's are base" in reasons


def test_with_the_paper_s_data_and_size_neither_is_a_reason():
    (table,) = stand_beside(TABLE3, table3(dataset="flickr30k_entities", size="base"))
    assert not [reason for reason in table.reasons if reason.startswith(("Data", "Size"))]


def test_settings_are_not_mixed():
    tables = stand_beside(TABLE3, [*table3(), *table3(size="base"), *table3(weights="random")])
    assert [table.setting.words for table in tables] == ["scenes, tiny", "scenes, base", "scenes, tiny, random weights"]


def test_seeds_are_averaged_and_their_intervals_spanned():
    (table,) = stand_beside(
        TABLE3,
        [
            *cell(subject(seed=0), {"model": 0.50}),
            *cell(subject(seed=1), {"model": 0.60}),
        ],
    )
    ours = table.find("144 Attention Heads", "VCD (SS)").ours
    assert (ours.value, ours.low, ours.high) == pytest.approx((55, 48, 62))
    assert ours.num_seeds == 2
    assert (
        "Seeds: a number is the mean of its seeds; its bracket is the span of the seeds' intervals."
    ) in table.reasons


HEADS = ("144 Attention Heads", "VCD (SS)")


def of_weights(*given: tuple[str, int]) -> list[tuple[str, float, int]]:
    """Return setting, number and seeds of every table of UNITER's links, measured with these weights and seeds."""
    rows = [
        row
        for place, (weights, seed) in enumerate(given)
        for row in cell(subject(weights=weights, seed=seed), {"model": 0.5 + place / 10})
    ]
    tables = stand_beside(TABLE3, rows)
    return [(t.setting.words, round(t.find(*HEADS).ours.value), t.find(*HEADS).ours.num_seeds) for t in tables]


def test_checkpoints_that_share_a_seed_are_never_averaged():
    assert of_weights(("scenes-11111111", 0), ("scenes-22222222", 0)) == [
        ("scenes, tiny, uniter scenes-11111111", 50, 1),
        ("scenes, tiny, uniter scenes-22222222", 60, 1),
    ]


def test_checkpoints_of_another_origin_are_not_seeds_of_one_model():
    assert [found[0] for found in of_weights(("scenes-11111111", 0), ("flickr-22222222", 1))] == [
        "scenes, tiny, uniter flickr-22222222",
        "scenes, tiny, uniter scenes-11111111",
    ]


def test_checkpoints_of_one_origin_with_a_seed_each_are_seeds_of_one_model():
    assert of_weights(("scenes-11111111", 1), ("scenes-22222222", 0)) == [("scenes, tiny", 55, 2)]


def test_rows_of_a_recipe_are_models_of_one_setting():
    (found,) = of_weights(("recipe@left-11111111", 0), ("recipe@right-22222222", 0))
    assert found[0] == "scenes, tiny"


def test_of_several_checkpoints_a_model_each_table_has_one_and_names_it():
    rows = [*table3(), *(replace(row, weights=f"{row.model}-99999999") for row in table3())]
    tables = stand_beside(TABLE3, rows)
    assert [table.setting.weights for table in tables] == [
        "lxmert lxmert-1a2b3c4d, uniter uniter-1a2b3c4d",
        "lxmert lxmert-99999999, uniter uniter-99999999",
    ]
    assert {cell.ours.num_seeds for table in tables for cell in table.cells if cell.ours} == {1}


def test_checkpoints_that_only_other_probes_read_make_no_difference():
    other = [replace(row, probe="nmi", weights="scenes-99999999") for row in table3()[:3]]
    (table,) = stand_beside(TABLE3, [*other, *table3()])
    assert table.setting.words == "scenes, tiny"


def test_what_was_not_measured_is_counted(beside: TableBeside):
    assert not [reason for reason in beside.reasons if reason.startswith("Not measured")]
    (table,) = stand_beside(TABLE3, cell(subject(), VALUES["vcd", "attention"]))
    assert "Not measured: 16 of the 18 numbers." in table.reasons  # two of the twenty printed cells are no such layer


def test_with_one_seed_nothing_is_said_of_several(beside: TableBeside):
    assert not [reason for reason in beside.reasons if reason.startswith("Seeds")]


def test_without_an_interval_there_is_none():
    (table,) = stand_beside(TABLE3, cell(subject(), {"model": 0.5}, half=None))
    assert table.find("144 Attention Heads", "VCD (SS)").ours.low is None


def test_rows_of_other_metrics_labels_and_probes_are_left_alone():
    rows = cell(subject(), VALUES["vcd", "attention"])
    others = [replace(rows[0], **change) for change in ({"metric": "bits"}, {"label": "x"}, {"probe": "nmi"})]
    assert stand_beside(TABLE3, others) == []


def test_a_query_s_later_part_wins():
    assert Query({"a": 1, "b": 2}, layer=1) | Query({"b": 3}, depth=5) == Query({"a": 1, "b": 3}, 1, 5)
    assert look_up(Query({"model": "bert"}), table3()) is None
