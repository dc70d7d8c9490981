from dataclasses import replace

import pytest

from tests.report.samples import NMI, TRAINED, records, row
from vlp.report.comparing import (
    NOWHERE,
    Place,
    Standing,
    layers_in_words,
    measurements,
    of_prober_seeds,
    place_name,
    short_names,
    stand,
    stand_to_zero,
)
from vlp.results import Record, Row


def record(each: Row) -> Record:
    return Record.of(TRAINED, each)


@pytest.mark.parametrize(
    ("value", "reference", "standing"),
    [
        (row("model", "accuracy", 0.9, 0.02), row("random_weights", "accuracy", 0.5, 0.02), Standing.ABOVE),
        (row("model", "accuracy", 0.4, 0.02), row("random_weights", "accuracy", 0.5, 0.02), Standing.BELOW),
        (row("model", "accuracy", 0.51, 0.02), row("random_weights", "accuracy", 0.5, 0.02), Standing.OVERLAP),
        (row("model", "accuracy", 0.54, 0.02), row("random_weights", "accuracy", 0.5, 0.02), Standing.OVERLAP),
        (row("model", "accuracy", 0.540001, 0.02), row("random_weights", "accuracy", 0.5, 0.02), Standing.ABOVE),
        (row("model", "accuracy", 0.53, 0.02), row("chance", "accuracy", 0.5), Standing.ABOVE),
        (row("model", "accuracy", 0.52, 0.02), row("chance", "accuracy", 0.5), Standing.OVERLAP),
        (row("model", "accuracy", 0.9, 0.02), row("random_weights", "accuracy", 0.5), Standing.UNKNOWN),
        (row("model", "accuracy", 0.9), row("chance", "accuracy", 0.5), Standing.UNKNOWN),
    ],
)
def test_intervals_are_apart_only_where_they_share_no_point(value: Row, reference: Row, standing: Standing):
    assert stand(record(value), record(reference)) is standing


@pytest.mark.parametrize(
    ("value", "half", "standing"),
    [
        (0.5, 0.1, Standing.ABOVE),
        (-0.5, 0.1, Standing.BELOW),
        (0.1, 0.1, Standing.OVERLAP),
        (0.5, None, Standing.UNKNOWN),
    ],
)
def test_a_paired_difference_stands_to_zero(value: float, half: float | None, standing: Standing):
    assert stand_to_zero(record(row("model", "bits", value, half))) is standing


def test_the_mean_over_prober_seeds_is_compared_and_no_single_one():
    rows = [row("model", "accuracy", value, prober_seed=seed) for value, seed in ((0.6, 0), (0.7, None), (0.8, 1))]
    (found,) = measurements(records(TRAINED, rows))
    assert found.model == records(TRAINED, rows)[1]


def test_single_prober_seeds_are_gathered_each_for_itself():
    rows = [
        row(condition, "accuracy", 0.5, prober_seed=seed)
        for condition in ("model", "random_weights")
        for seed in (1, None, 0)
    ]
    found = of_prober_seeds(records(TRAINED, rows))
    assert [(each.prober_seed, [*each.by_condition]) for each in found] == [
        (0, ["model", "random_weights"]),
        (1, ["model", "random_weights"]),
    ]


def test_rows_that_differ_by_condition_alone_are_one_measurement():
    rows = [row(c, "nmi", 0.5, stage="joint", layer=layer) for layer in (1, 2) for c in ("shuffled", "model", "own")]
    found = measurements(records(NMI, rows))
    assert [each.place.layer for each in found] == [1, 2]
    assert list(found[0].by_condition) == ["model", "shuffled", "own"]


def test_a_control_of_no_place_stands_beside_every_layer():
    layers = [row("model", "accuracy", 0.8, layer=layer) for layer in (1, 2)]
    found = measurements(records(NMI, [row("chance", "accuracy", 0.5), *layers]))
    assert [(each.place.layer, list(each.by_condition)) for each in found] == [
        (1, ["model", "chance"]),
        (2, ["model", "chance"]),
    ]


def test_a_model_of_no_place_is_a_measurement_beside_its_layers():
    rows = [row("model", "accuracy", 0.9), row("model", "accuracy", 0.8, layer=1)]
    assert [each.place.layer for each in measurements(records(NMI, rows))] == [None, 1]


def test_two_seeds_are_two_measurements():
    rows = [row("model", "accuracy", 0.9)]
    found = measurements([*records(TRAINED, rows), *records(replace(TRAINED, seed=1), rows)])
    assert [each.subject.seed for each in found] == [0, 1]


def test_a_short_name_says_only_what_tells_subjects_apart():
    other = replace(TRAINED, seed=1, prober="attention")
    assert list(short_names([TRAINED, NMI]).values()) == ["uniter", "uniter"]
    assert list(short_names([TRAINED, replace(TRAINED, model="lxmert", size="base")]).values()) == ["uniter", "lxmert"]
    assert list(short_names([TRAINED, other]).values()) == ["uniter · seed 0", "uniter · attention · seed 1"]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (NOWHERE, ""),
        (Place("joint", "joint", "", 0, None), "joint, embedding"),
        (Place("cross", "text", "vision", 3, 1), "cross, text to vision, layer 3, head 1"),
        (Place("text", "text", "text", 2, None), "text, layer 2"),
    ],
)
def test_places_in_words(place: Place, words: str):
    assert place_name(place) == words


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([1], "layer 1"),
        ([1, 2, 3, 4], "layers 1–4"),
        ([4, 1, 2], "layers 1–2 and 4"),
        ([1, 3, 5, 6], "layers 1, 3 and 5–6"),
        ([0], "the embedding output"),
        ([0, 2], "layer 2 and the embedding output"),
    ],
)
def test_layers_in_words(layers: list[int], words: str):
    assert layers_in_words(layers) == words
