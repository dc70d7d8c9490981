"""Items against what can be worked out by hand."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.probes.pairs import Listed, boxes, phrase, regions, sample
from tests.probes.subjects import TOKENIZER
from vlp.probes.coreference_items import coreference_links
from vlp.probes.items import (
    Links,
    Pairs,
    by_frequency,
    chosen_samples,
    first_of_each,
    items_of,
    numbered,
    read_links,
    readable,
    regions_of,
)

TWO = "a man and a dog"


def people(image: str) -> object:
    return sample(
        TWO,
        image,
        regions=regions("top left", "top right"),
        phrases=(phrase(TWO, "a man", "1", "top left"), phrase(TWO, "a dog", "2", "top right", kinds=("animals",))),
    )


def links_of(*images: str) -> Links:
    return read_links(Listed([people(image) for image in images]), coreference_links, None, seed=0)


def test_a_box_is_the_region_of_highest_overlap_from_one_half_on():
    found = regions_of(
        boxes("top left", "nowhere", "middle"), regions("top left, a little off", "top left", "top right")
    )
    assert found.tolist() == [1, -1, -1]


def test_where_there_are_gold_regions_a_box_is_one_of_them():
    both = regions("top left, a little off", "top right", "top left", gold=2)
    assert regions_of(boxes("top left", "bottom left"), both).tolist() == [0, -1]


def test_pairs_of_samples_stand_together_and_know_their_sample():
    links = links_of("a", "b")
    assert links.sample.tolist() == [0] * 4 + [1] * 4
    assert Pairs.of(links).samples.tolist() == [0, 1]
    assert len(links.kinds) == len(links.types) == len(links) == 8


def test_a_limit_draws_samples_by_the_seed_alone():
    assert chosen_samples(5, None, 0) == chosen_samples(5, 9, 0) == [0, 1, 2, 3, 4]
    drawn = [chosen_samples(1000, 10, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(set(drawn[0])) and len(drawn[0]) == 10


def test_pairs_whose_phrase_has_no_word_piece_are_left_out_and_counted():
    caption = "a man \u200b and a dog"
    blank = phrase(caption, "\u200b", "3", "bottom left")
    parts = {"phrases": (*people("a").phrases[:1], blank), "regions": regions("top left", "top right", "bottom left")}
    made = replace(sample(caption, "a"), **parts)
    links = coreference_links(made, np.random.default_rng(0))
    kept = readable(links, made, TOKENIZER, 24)
    spans = Counter(caption[start:end] for start, end in kept.first.tolist())
    assert (len(links), spans) == (4, Counter({"a man": 2}))
    assert kept.skipped == Counter({"pair whose phrase has no word piece": 2})


def test_pairs_of_a_caption_that_the_model_cannot_read_whole_are_left_out_and_counted():
    made = people("a")
    links = coreference_links(made, np.random.default_rng(0))
    assert readable(links, made, TOKENIZER, 7).skipped == Counter()  # five words between [CLS] and [SEP]
    cut = readable(links, made, TOKENIZER, 6)
    assert (len(cut), cut.skipped) == (0, Counter({"pair of a caption that is longer than the model reads": 4}))


def test_a_split_without_a_sample_is_named():
    with pytest.raises(ValueError, match=r"^dataset listed split=val has no sample$"):
        read_links(Listed([], "val"), coreference_links, None, seed=0)


@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (3, 0), (2, 1)])
def test_loading_changes_no_pair(batch_size: int, num_workers: int):
    dataset = Listed([people(str(number)) for number in range(5)])
    expected = links_of(*map(str, range(5)))
    found = read_links(dataset, coreference_links, None, 0, batch_size, num_workers)
    assert Pairs.of(found).digest == Pairs.of(expected).digest


def test_the_digest_depends_on_every_place():
    pairs = Pairs.of(links_of("a", "b"))
    moved = Pairs(pairs.sample, pairs.first, pairs.second.roll(1))
    assert moved.digest != pairs.digest
    assert Pairs(pairs.sample, pairs.second, pairs.second).digest != pairs.digest


def test_the_first_of_each_group_are_chosen_in_order():
    sample_M, kind_M = np.array([0, 0, 0, 0, 1, 1]), np.array([5, 5, 5, 7, 5, 5])
    order = np.array([3, 0, 5, 1, 4, 2])
    assert first_of_each([sample_M, kind_M], 2, order).tolist() == [True, True, False, True, True, True]
    assert first_of_each([sample_M], 1, order).tolist() == [False, True, False, False, False, True]
    assert (
        first_of_each([sample_M], np.array([3, 3, 3, 3, 0, 0]), order).tolist()
        == [True, True, False, True] + [False] * 2
    )
    assert first_of_each([sample_M[:0]], 1, order[:0]).tolist() == []


def test_classes_stand_by_frequency_then_by_name():
    names = ["on", "in", "at", "on", "", "in"]
    assert by_frequency(names) == ("in", "on", "at")
    assert by_frequency(names, 2) == ("in", "on")
    assert numbered(names, ("in", "on")).tolist() == [1, 0, -1, 1, -1, 0]


def test_items_are_asked_pairs_with_a_known_answer():
    links = {"train": links_of("a"), "test": links_of("b", "c")}
    datasets = {"train": Listed([people("a")]), "test": Listed([people("b"), people("c")])}
    kinds = ("people", "animals")

    def ask(classes: tuple[str, ...]) -> dict[str, object]:
        return items_of(
            links, datasets, lambda part: part.is_linked, lambda part: numbered(part.kinds, classes), classes
        )

    test = ask(kinds)["test"]
    assert test.label.tolist() == [0, 1, 0, 1]
    assert test.group == ("b", "b", "c", "c")
    assert test.sample.tolist() == [0, 0, 1, 1]
    assert test.pairs.second[test.rows].tolist() == [0, 1, 0, 1]
    assert test.pair_type.tolist() == [*ask(kinds)["train"].pair_type.tolist()] * 2
    few = ask(("people", "vehicles"))["test"]
    assert few.label.tolist() == [0, 0]
    assert few.skipped == Counter({"pair of a class that training lacks": 2})
    links["test"] = replace(links["test"], kinds=("people", "", "animals", "") * 2)
    assert ask(kinds)["test"].skipped == Counter({"pair without a class": 2})


def test_too_few_classes_and_no_items_are_named():
    links, datasets = {"train": links_of("a")}, {"train": Listed([people("a")])}

    def ask(classes: tuple[str, ...], asked: bool = True) -> None:
        everything = torch.full((4,), asked).numpy()
        items_of(links, datasets, lambda part: everything, lambda part: np.zeros(4, np.int64), classes)

    with pytest.raises(
        ValueError, match=f"^{re.escape('a probe needs at least 2 classes, dataset listed has people')}$"
    ):
        ask(("people",))
    message = "dataset listed split=train has no pair to ask about; left out: nothing"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ask(("people", "animals"), asked=False)
