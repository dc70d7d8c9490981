"""Says something true about a scene: chooses a template, whom it is about, and the words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from vlp.data.scenes.grammar import Predicate, Sentence, Template, name_entity, realise
from vlp.data.scenes.levels import Level
from vlp.data.scenes.world import Scene

Relations = Callable[[int, int], Predicate | None]
"""The predicate of a subject and an object, entities by their place in the scene, or None."""


def relate(scene: Scene, level: Level) -> Relations:
    """Return what says, of any two entities, which predicate of the level is the first to hold; each is asked once."""
    places = [entity.placement for entity in scene.entities]

    @cache
    def relation(subject: int, object_: int) -> Predicate | None:
        a, b = places[subject], places[object_]
        for predicate in level.predicates:
            if predicate.holds(a, b):
                return predicate
        return None

    return relation


@dataclass(frozen=True)
class Description:
    """A caption, the entity in each of its slots, and the pairs (subject, object) whose relation it states."""

    sentence: Sentence
    entities: tuple[int, ...]
    stated: tuple[tuple[int, int], ...]


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
                related(cast[a], cast[b]) for a, b in template.constraints if max(a, b) == slot
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
        predicate = related(entities[a], entities[b])
        assert predicate is not None, "cast without the relation that the template states"
        wordings[a, b] = predicate.word_lists[int(draw * len(predicate.word_lists))]
    return realise(template, namings, wordings)
