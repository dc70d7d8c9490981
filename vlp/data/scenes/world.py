"""What stands where: a scene before it is drawn or described."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlp.data.scenes.geometry import Placement, cover
from vlp.data.scenes.levels import Level

CANDIDATES = 24
"""Places tried for each entity before the least crowded of them is taken."""

CLUTTER = 6
"""Most faint shapes in a background."""


@dataclass(frozen=True)
class Entity:
    """A thing in a scene: noun and colour by number in the level, where it stands, whether it is drawn mirrored."""

    noun: int
    colour: int
    placement: Placement
    is_mirrored: bool
    shade: float


@dataclass(frozen=True)
class Scene:
    """Entities in drawing order, on a background given by ``backdrop``, numbers in [0, 1) that the renderer reads."""

    entities: tuple[Entity, ...]
    backdrop: tuple[float, ...]


def imagine(level: Level, rng: np.random.Generator, image_size: int) -> Scene:
    """Draw a scene of ``level``. No two of its entities share noun and colour; boxes lie on whole pixels."""
    fewest, most = level.num_entities
    count = int(rng.integers(fewest, most + 1))
    kinds = rng.permutation(len(level.nouns) * len(level.colours))[:count].tolist()
    draws = rng.random((count, CANDIDATES + 1, 3)).tolist()
    entities: list[Entity] = []
    for depth, (kind, (look, *candidates)) in enumerate(zip(kinds, draws, strict=True)):
        noun, colour = divmod(kind, len(level.colours))
        size = _box_size(level, level.nouns[noun].aspect, look[0], image_size)
        placement = _place(
            size, depth, candidates, [entity.placement for entity in entities], level.max_cover, image_size
        )
        entities.append(Entity(noun, colour, placement, look[1] < 0.5, 0.88 + 0.24 * look[2]))
    return Scene(tuple(entities), tuple(rng.random(8 + 6 * CLUTTER).tolist()))


def _box_size(level: Level, aspect: float, draw: float, image_size: int) -> tuple[int, int]:
    """Return width and height in pixels."""
    low, high = level.side
    side = (low + (high - low) * draw) * image_size
    stretch = aspect**0.5
    return max(2, round(side * stretch)), max(2, round(side / stretch))


def _place(
    size: tuple[int, int],
    depth: int,
    candidates: list[list[float]],
    taken: list[Placement],
    max_cover: float,
    image_size: int,
) -> Placement:
    """Return the first candidate place that hides nothing too much, or the best of them."""
    width, height = size
    best, best_cover = None, float("inf")
    for x_draw, y_draw, _ in candidates:
        x, y = int(x_draw * (image_size - width + 1)), int(y_draw * (image_size - height + 1))
        place = Placement(x / image_size, y / image_size, (x + width) / image_size, (y + height) / image_size, depth)
        worst = max((cover(place, other) for other in taken), default=0.0)
        if worst < best_cover:
            best, best_cover = place, worst
        if worst <= max_cover:
            break
    assert best is not None
    return best
