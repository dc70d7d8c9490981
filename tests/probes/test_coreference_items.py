"""Pairs of phrases and regions against what can be worked out by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np

from tests.probes.pairs import phrase, regions, sample
from vlp.probes.coreference_items import coreference_links
from vlp.probes.items import Links

CAPTION = "a man with his dog near a tree under the sky"


def links_of(*phrases: object, found: object = None, seed: int = 0) -> Links:
    three = regions("top left", "top right", "bottom left")
    made = sample(CAPTION, regions=three if found is None else found, phrases=phrases)
    return coreference_links(made, np.random.default_rng(seed))


def described(links: Links) -> list[tuple[str, int, bool, bool]]:
    spans = (CAPTION[start:end] for start, end in links.first)
    return list(zip(spans, links.second.tolist(), links.is_linked.tolist(), links.asks.tolist(), strict=True))


def man(*names: str) -> object:
    return phrase(CAPTION, "a man", "1", *names)


def dog(*names: str) -> object:
    return phrase(CAPTION, "his dog", "2", *names, kinds=("animals", "other"))


def test_each_link_stands_beside_its_phrase_with_another_chains_region():
    links = links_of(man("top left"), dog("top right"))
    assert described(links) == [
        ("a man", 0, True, True),
        ("his dog", 1, True, True),
        ("a man", 1, False, True),
        ("his dog", 0, False, True),
    ]
    assert links.kinds == ("people", "animals", "", "")
    assert links.types == ("a man|0", "his dog|1", "a man|1", "his dog|0")
    assert links.skipped == Counter()


def test_a_phrase_of_the_same_chain_is_no_other():
    his = phrase(CAPTION, "his", "1", "top left")
    links = links_of(man("top left"), his, dog("top right"))
    assert {row[:2] for row in described(links) if not row[2]} == {("a man", 1), ("his", 1), ("his dog", 0)}


def test_without_another_chain_a_region_apart_from_all_boxes_is_taken_and_counted():
    for seed in range(5):
        links = links_of(man("top left"), found=regions("top left", "top left, a little off", "middle"), seed=seed)
        assert described(links)[1] == ("a man", 2, False, True)
        assert (links.skipped, links.unasked) == (Counter(), Counter({"unlinked region of no chain of the caption": 1}))


def test_a_gold_region_of_no_chain_is_never_the_other():
    found = regions("top left", "top right", "middle", gold=2)
    assert described(links_of(man("top left"), found=found))[1][1] == 2


def test_a_link_without_any_other_region_is_asked_for_its_type_alone():
    links = links_of(man("top left"), found=regions("top left"))
    assert described(links) == [("a man", 0, True, False)]
    assert (links.skipped, links.unasked) == (Counter(), Counter({"link without an unlinked region": 1}))
    assert links.asking().skipped == links.unasked


def test_a_region_that_two_chains_share_is_no_negative_of_either():
    links = links_of(man("top left"), dog("top left", "top right"))
    assert {row[:2] for row in described(links) if not row[2]} == {("a man", 1), ("his dog", 2)}


def test_every_box_of_a_phrase_is_a_link_once():
    links = links_of(man("top left", "top right", "top left"), dog("bottom left"))
    assert [row[:2] for row in described(links) if row[2]] == [("a man", 0), ("a man", 1), ("his dog", 2)]


def test_a_phrase_has_no_unlinked_region_twice():
    four = regions("top left", "top right", "bottom left", "bottom right")
    lucky = set()
    for seed in range(20):
        rows = described(links_of(man("top left", "top right"), dog("bottom left"), found=four, seed=seed))
        assert [row[:2] for row in rows if not row[2] and row[0] == "a man"] == [("a man", 2)]
        lucky |= {row[1] for row in rows if row[0] == "a man" and row[2] and row[3]}
        assert sum(row[3] for row in rows if row[0] == "a man") == 2
        tree = phrase(CAPTION, "a tree", "3", "bottom right")
        rows = described(links_of(man("top left", "top right"), dog("bottom left"), tree, found=four, seed=seed))
        assert {row[1] for row in rows if not row[2] and row[0] == "a man"} == {2, 3}
    assert lucky == {0, 1}  # either of the two links, by chance


def test_an_image_without_regions_has_no_pair_and_its_links_are_counted():
    links = links_of(man("top left"), dog("top right"), found=regions())
    assert (len(links), links.skipped) == (0, Counter({"link without a region of IoU >= 0.5": 2}))


def test_links_without_a_region_and_phrases_without_a_box_are_counted():
    sky = phrase(CAPTION, "the sky", "0")
    links = links_of(man("top left"), dog("bottom right"), sky)
    assert [row[:2] for row in described(links) if row[2]] == [("a man", 0)]
    assert links.skipped["link without a region of IoU >= 0.5"] == 1
    assert links.skipped["phrase without a box"] == 1


def test_a_caption_without_boxed_phrases_has_no_pair():
    links = links_of(phrase(CAPTION, "the sky", "0"))
    assert (len(links), links.first.shape, links.skipped) == (0, (0, 2), Counter({"phrase without a box": 1}))


def test_the_other_region_is_drawn_by_the_generator_alone_each_equally_often():
    three = (man("top left"), dog("top right"), phrase(CAPTION, "a tree", "3", "bottom left"))
    drawn = Counter(described(links_of(*three, seed=seed))[3][1] for seed in range(200))
    assert set(drawn) == {1, 2}
    assert 70 <= drawn[1] <= 130
    assert described(links_of(*three, seed=7)) == described(links_of(*three, seed=7))
