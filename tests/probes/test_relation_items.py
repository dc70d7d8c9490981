"""Pairs of related regions against what can be worked out by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from tests.probes.pairs import regions, relation, sample, thing
from vlp.data import open_dataset
from vlp.data.sample import Regions
from vlp.probes.items import Links, linked_kinds
from vlp.probes.relation_items import capped, normalised, relation_links

MAN, DOG, TREE, SKY = (
    thing("1", "Man", "top left"),
    thing("2", "dog", "top right"),
    thing("3", "tree", "bottom left"),
    thing("4", "sky", "nowhere"),
)
FOUND = regions("top left", "top right", "bottom left", "bottom right")


def links_of(*relations: object, objects: tuple[object, ...] = (MAN, DOG, TREE), found: Regions | None = None) -> Links:
    made = sample("a man", regions=FOUND if found is None else found, objects=objects, relations=relations)
    return relation_links(made, np.random.default_rng(0))


def described(links: Links) -> list[tuple[int, int, str]]:
    return list(zip(links.first.tolist(), links.second.tolist(), links.kinds, strict=True))


def pairs_of(links: Links, is_linked: bool) -> set[frozenset[int]]:
    """Return the pairs of regions that are related or not, in either direction."""
    places = np.stack([links.first, links.second], 1)[links.is_linked == is_linked]
    return {frozenset(pair) for pair in places.tolist()}


def flat(kinds: str, samples: list[int] | None = None) -> Links:
    """Return links of one letter each: a predicate, or ``-`` for an unrelated pair."""
    names = tuple("" if kind == "-" else kind for kind in kinds)
    where, count = np.array(samples or [0] * len(kinds)), len(kinds)
    linked = np.array([bool(name) for name in names])
    places = np.arange(count)
    return Links(places, places + 1, linked, np.ones(count, bool), names, names, where, Counter())


def test_related_pairs_keep_their_direction_and_unrelated_ones_have_none():
    links = links_of(relation(MAN, " Next  TO", DOG))
    assert described(links) == [
        (0, 1, "next to"),
        (0, 2, ""),
        (1, 2, ""),
        (2, 0, ""),
        (2, 1, ""),
    ]
    assert links.types == ("man|dog", "man|tree", "dog|tree", "tree|man", "tree|dog")
    assert links.is_linked.tolist() == [True] + [False] * 4


def test_a_relation_of_another_text_makes_no_pair_and_is_no_unrelated_one():
    known = replace(relation(TREE, "behind", MAN), is_annotated=False)
    links = links_of(relation(MAN, "on", DOG), known)
    assert described(links) == [(0, 1, "on"), (1, 2, ""), (2, 1, "")]
    again = thing("9", "person", "top left, a little off")
    assert described(links_of(known, objects=(again, DOG, TREE))) == [(0, 1, ""), (1, 0, ""), (1, 2, ""), (2, 1, "")]
    assert links_of(replace(relation(MAN, "under", SKY), is_annotated=False), objects=()).skipped == {}


def test_no_unrelated_pair_of_a_region_description_is_related():
    described, captioned = (
        open_dataset("scenes", split="test", size=60, text=text) for text in ("region_description", "caption")
    )
    kinds: Counter[bool] = Counter()
    for index in range(60):
        parts = [relation_links(dataset[index], np.random.default_rng(0)) for dataset in (described, captioned)]
        unrelated = pairs_of(parts[0], is_linked=False)
        assert not unrelated & pairs_of(parts[1], is_linked=True)
        kinds += Counter(parts[0].is_linked.tolist())
    assert min(kinds[True], kinds[False]) > 20


def test_one_object_under_two_ids_is_related_as_itself():
    again = thing("9", "person", "top left, a little off")
    links = links_of(relation(MAN, "on", DOG), objects=(again, DOG))
    assert described(links) == [(0, 1, "on")]


def test_objects_of_one_id_are_no_pair():
    elsewhere = thing("1", "man", "bottom right")
    assert described(links_of(objects=(MAN, elsewhere))) == []


def test_ends_without_a_region_and_in_one_region_are_counted():
    beside = thing("9", "hat", "top left, a little off")
    links = links_of(relation(MAN, "under", SKY), relation(beside, "on", MAN), objects=())
    assert len(links) == 0
    assert links.skipped == {
        "relation with an end without a region of IoU >= 0.5": 1,
        "relation with both ends in one region": 1,
    }


def test_an_image_without_regions_has_no_pair_and_its_relations_are_counted():
    links = links_of(relation(MAN, "on", DOG), found=regions())
    assert (len(links), links.skipped) == (0, Counter({"relation with an end without a region of IoU >= 0.5": 1}))
    assert len(links_of(objects=(), found=regions())) == 0


def test_a_relation_that_stands_twice_counts_once_and_two_predicates_are_two():
    links = links_of(relation(MAN, "on", DOG), relation(MAN, "ON", DOG), relation(MAN, "holds", DOG), objects=())
    assert described(links) == [(0, 1, "on"), (0, 1, "holds")]


def test_predicates_are_normalised_and_not_merged():
    assert [normalised(name) for name in ("Standing in ", "  ON", "holds", "hold")] == [
        "standing in",
        "on",
        "holds",
        "hold",
    ]


def test_classes_are_the_most_frequent_predicates():
    assert linked_kinds(flat("aabbbc-----"), 2) == ("b", "a")
    assert linked_kinds(flat("aabbbc"), 30) == ("b", "a", "c")


def test_caps_hold_by_annotation_then_by_type():
    links = flat("aaaaab" + "aab", [0] * 6 + [1] * 3)
    kept = capped(links, ("a", "b"), most_in_one=2, most=3, seed=0)
    counts = Counter(zip(kept.sample.tolist(), kept.kinds, strict=True))
    assert sum(counts[s, "a"] for s in (0, 1)) == 3
    assert counts[0, "a"] <= 2 and counts[0, "b"] == counts[1, "b"] == 1
    assert kept.skipped == {
        "relation beyond those of one type of an annotation": 3,
        "relation beyond those of one type": 1,
    }
    assert kept.unasked == {"relation without an unrelated pair in its annotation": 5}


def test_without_a_limit_all_are_kept():
    links = flat("aaaaab" + "aab", [0] * 6 + [1] * 3)
    assert len(capped(links, ("a", "b"), None, None, seed=0)) == len(links)


def test_rare_predicates_are_left_out_and_counted():
    kept = capped(flat("aab"), ("a",), 5, 100, seed=0)
    assert kept.kinds == ("a", "a")
    assert kept.skipped["relation of another predicate than the most frequent"] == 1


def test_a_question_is_asked_of_equally_many_related_and_unrelated_pairs_of_a_sample():
    links = flat("aab---" + "a----" + "ab", [0] * 6 + [1] * 5 + [2] * 2)
    kept = capped(links, ("a", "b"), 5, 100, seed=0)
    asked = Counter(zip(kept.sample[kept.asks].tolist(), kept.is_linked[kept.asks].tolist(), strict=True))
    assert asked == {(0, True): 3, (0, False): 3, (1, True): 1, (1, False): 1}
    assert kept.is_linked.sum() == 6  # of the third sample the relations are kept, for their class
    assert (kept.skipped, kept.unasked) == ({}, {"relation without an unrelated pair in its annotation": 2})


def test_whether_two_regions_are_related_is_asked_once_however_many_predicates_say_so():
    links = links_of(relation(MAN, "on", DOG), relation(MAN, "holds", DOG), relation(DOG, "near", TREE))
    first_of = set()
    for seed in range(20):
        kept = capped(links, ("holds", "near", "on"), 5, 100, seed)
        assert Counter(kept.kinds)["on"] == Counter(kept.kinds)["holds"] == 1  # both are known, for their class
        asked = [row for row, asks in zip(described(kept), kept.asks, strict=True) if asks]
        assert sorted(row[:2] for row in asked) == [(0, 1), (0, 2), (1, 2), (2, 0)]
        assert kept.unasked == {"relation of a pair that another predicate relates as well": 1}
        first_of |= {row[2] for row in asked if row[:2] == (0, 1)}
    assert first_of == {"on", "holds"}


def test_what_is_drawn_depends_on_the_seed():
    links = flat("a" * 50 + "-" * 50)
    first, again, other = (capped(links, ("a",), 10, 10, seed).first.tolist() for seed in (0, 0, 1))
    assert first == again != other
