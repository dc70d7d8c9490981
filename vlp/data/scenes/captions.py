"""Says something true about a scene: chooses a template, whom it is about, and the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vlp.data.scenes.grammar import Predicate, Sentence, Template, name_entity, realise
from vlp.data.scenes.levels import Level
from vlp.data.scenes.world import Scene

Relations = Mapping[tuple[int, int], Predicate]
"""Predicates by (subject, object), entities by their place in the scene."""


def relate(scene: Scene, level: Level) -> dict[tuple[int, int], Predicate]:
    """Return, for every ordered pair of entities, the first predicate of the level that holds; a pair may have none."""
    places = [entity.placement for entity in scene.entities]
    related = {}
    for at, a in enumerate(places):
        for to, b in enumerate(places):
            predicate = next((p for p in level.predicates if at != to and p.holds(a, b)), None)
            if predicate is not None:
                related[at, to] = predicate
    return related


class Description:
    """A caption of a scene.

    Attributes:
        sentence: the words with their parse.
        entities: the entity that stands in each slot.
        stated: the related pairs that the sentence states, subject first.
    """

    def __init__(self, sentence: Sentence, entities: tuple[int, ...], stated: tuple[tuple[int, int], ...]) -> None:
        self.sentence = sentence
        self.entities = entities
        self.stated = stated


def describe(
    scene: Scene, level: Level, templates: Sequence[Template], related: Relations, rng: np.random.Generator
) -> Description:
    """Return a caption from one of ``templates``, by weight among those that can be said of the scene."""
    order = rng.permutation(len(scene.entities)).tolist()
    draws = rng.random(2 * len(templates) + 1).tolist()
    for template in _by_weight(templates, draws):
        entities = _cast(template, order, related)
        if entities is not None:
            stated = tuple((entities[a], entities[b]) for a, b in template.constraints)
            return Description(_write(scene, level, template, entities, related, draws[-1]), entities, stated)
    raise ValueError(
        f"level {level.name} has no template for a scene of {len(scene.entities)} entities without relations"
    )


def _by_weight(templates: Sequence[Template], draws: Sequence[float]) -> list[Template]:
    """Return the templates in a random order in which each comes first with probability proportional to its weight."""
    # The smallest of exponential variables of rates w is that of template i with probability w_i / sum(w).
    keys = [-np.log(1 - draw) / t.weight if t.weight else np.inf for t, draw in zip(templates, draws, strict=False)]
    return [templates[at] for at in np.argsort(keys, kind="stable")]


def _cast(template: Template, order: Sequence[int], related: Relations) -> tuple[int, ...] | None:
    """Return an entity for every slot such that the pairs to be related are, trying entities in ``order``; or None."""

    def extend(chosen: tuple[int, ...]) -> tuple[int, ...] | None:
        slot = len(chosen)
        if slot == template.num_entities:
            return chosen
        for entity in order:
            cast = (*chosen, entity)
            if entity not in chosen and all(
                (cast[a], cast[b]) in related for a, b in template.constraints if max(a, b) == slot
            ):
                complete = extend(cast)
                if complete is not None:
                    return complete
        return None

    return extend(())


def _write(
    scene: Scene, level: Level, template: Template, entities: tuple[int, ...], related: Relations, draw: float
) -> Sentence:
    colours = list(level.colours)
    namings = {}
    for slot, at in enumerate(entities):
        entity = scene.entities[at]
        namings[slot] = name_entity(colours[entity.colour], level.nouns[entity.noun].name)
    wordings = {}
    for a, b in template.constraints:
        words = related[entities[a], entities[b]].word_lists
        wordings[a, b] = words[int(draw * len(words))]
    return realise(template, namings, wordings)
