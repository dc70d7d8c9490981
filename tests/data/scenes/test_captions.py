from collections import Counter
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from vlp.data.scenes.captions import describe, relate
from vlp.data.scenes.grammar import Template
from vlp.data.scenes.levels import DEMO
from vlp.data.scenes.world import imagine


def unrelated(subject: int, object_: int) -> None:
    """Say that no two things are related."""


def scenes(count: int):
    for number in range(count):
        rng = np.random.default_rng(number)
        yield imagine(DEMO, rng, 224), rng


def test_the_two_directions_of_a_pair_agree():
    opposite = {"left of": "right of", "above": "below", "in front of": "behind"}
    opposite |= {value: key for key, value in opposite.items()}
    pairs = 0
    for scene, _ in scenes(50):
        related = relate(scene, DEMO)
        for a, b in permutations(range(len(scene.entities)), 2):
            there, back = related(a, b), related(b, a)
            assert (there and opposite[there.name]) == (back and back.name)
            pairs += there is not None
    assert pairs > 100


def test_templates_are_chosen_by_weight():
    one, three = Template("{0}|root|- .|.|punct|0", 1), Template("{0}|root|- and|CC|cc|0 {1}|conj|0", 3)
    chosen = Counter(len(describe(s, DEMO, (one, three), unrelated, rng).entities) for s, rng in scenes(600))
    assert chosen[2] / 600 == pytest.approx(0.75, abs=0.05)


def test_what_cannot_be_said_of_a_scene_is_not_said():
    related_pair = Template("{0}|root|- {0>1}|0", 100)
    plain = Template("{0}|root|-", 0)
    scene, rng = next(scenes(1))
    description = describe(scene, DEMO, (related_pair, plain), unrelated, rng)
    assert (len(description.entities), description.stated) == (1, ())
    with pytest.raises(ValueError) as error:
        describe(scene, replace(DEMO, name="mute"), (related_pair,), unrelated, rng)
    count = len(scene.entities)
    assert str(error.value) == f"level mute has no template for a scene of {count} entities without relations"


def test_every_relation_that_is_stated_holds_and_is_worded():
    for scene, rng in scenes(100):
        related = relate(scene, DEMO)
        description = describe(scene, DEMO, DEMO.captions, related, rng)
        assert len(set(description.entities)) == len(description.entities)
        for pair in description.stated:
            texts = [" ".join(word.text for word in words) for words in related(*pair).word_lists]
            assert any(f" {text} a" in description.sentence.text for text in texts)
