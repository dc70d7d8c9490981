"""Draws a scene. What is drawn depends on the scene and the level's drawings alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vlp.data.scenes.levels import Colour, Level, Part
from vlp.data.scenes.world import CLUTTER, Entity, Scene


@dataclass(frozen=True)
class Drawing:
    """A drawn scene as paint numbers (H, W) uint8 and the paints (P, 3) uint8: a third of the cost of RGB."""

    paint_numbers: NDArray[np.uint8]
    paints: NDArray[np.uint8]

    def pixels(self) -> NDArray[np.uint8]:
        """Return the pixels (H, W, 3)."""
        return self.paints[self.paint_numbers]

    def image(self) -> Image.Image:
        """Return the pixels as an RGB image."""
        return Image.fromarray(self.pixels(), "RGB")


def render(scene: Scene, level: Level, image_size: int) -> Drawing:
    """Return the scene drawn at ``image_size`` pixels a side; later entities cover earlier ones."""
    canvas = _Canvas(image_size)
    _draw_background(canvas, scene.backdrop)
    for entity in scene.entities:
        _draw_entity(canvas, entity, level)
    return canvas.finish()


class _Canvas:
    """Paints shapes by number, in pixel coordinates whose ends are inside the shape."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._image = Image.new("L", (size, size))
        self._draw = ImageDraw.Draw(self._image)
        self._paints: list[Colour] = []

    def paint(self, form: str, points: list[tuple[float, float]], fill: Colour) -> None:
        """Fill a polygon, or the ellipse or rectangle between two corners, of which the first is the upper left."""
        number = len(self._paints)
        self._paints.append(fill)
        if form == "polygon":
            self._draw.polygon(points, fill=number)
        elif form == "ellipse":
            self._draw.ellipse(points, fill=number)
        elif form == "rectangle":
            self._draw.rectangle(points, fill=number)
        else:
            raise ValueError(f"a part has form {form!r}; it must be polygon, ellipse or rectangle")

    def finish(self) -> Drawing:
        """Return what was painted."""
        return Drawing(np.asarray(self._image), np.array(self._paints, dtype=np.uint8))


def _draw_background(canvas: _Canvas, backdrop: Sequence[float]) -> None:
    """Two pale surfaces that meet at a horizon, with faint shapes on them."""
    size = canvas.size
    horizon = int((0.3 + 0.5 * backdrop[0]) * size)
    canvas.paint("rectangle", [(0, 0), (size, horizon)], _pale(backdrop[1:4], 196))
    canvas.paint("rectangle", [(0, horizon), (size, size)], _pale(backdrop[4:7], 172))
    for at in range(8, 8 + 6 * int(backdrop[7] * (CLUTTER + 1)), 6):
        x, y, width, height, *paint = backdrop[at : at + 6]
        corners = [(x * size, y * size), ((x + 0.05 + 0.25 * width) * size, (y + 0.05 + 0.25 * height) * size)]
        canvas.paint("ellipse" if paint[0] < 0.5 else "rectangle", corners, _pale((*paint, x), 184))


def _pale(draws: Sequence[float], base: int) -> Colour:
    red, green, blue = (int(base + 40 * draw) for draw in draws)
    return red, green, blue


def _draw_entity(canvas: _Canvas, entity: Entity, level: Level) -> None:
    x1, y1, x2, y2, _ = entity.placement
    left, top = x1 * canvas.size, y1 * canvas.size
    width, height = x2 * canvas.size - left - 1, y2 * canvas.size - top - 1  # to the last pixel inside the box
    body = level.paints[entity.colour]
    for part in level.nouns[entity.noun].parts:
        points = part.mirrored_points if entity.is_mirrored else part.points
        placed = [(left + x * width, top + y * height) for x, y in points]
        canvas.paint(part.form, placed, _fill(part, body, entity.shade))


def _fill(part: Part, body: Colour, shade: float) -> Colour:
    if not isinstance(part.paint, float):
        return part.paint
    red, green, blue = (min(255, int(channel * part.paint * shade)) for channel in body)
    return red, green, blue
