"""What a world consists of, as data: nouns and how they look, colours, predicates, sentences, sizes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from vlp.data.scenes import geometry
from vlp.data.scenes.grammar import Predicate, Template

Colour = tuple[int, int, int]

SKIN: Colour = (224, 172, 128)
DARK: Colour = (62, 58, 64)


@dataclass(frozen=True)
class Part:
    """A piece of a drawing in the unit square of its entity's box.

    ``points`` are (x, y) pairs: the corners of a polygon, or the upper left and lower right corner of an ellipse or
    rectangle. ``paint`` is a fixed colour, or a shade that the entity's colour is multiplied by.
    """

    form: str  # polygon | ellipse | rectangle
    points: tuple[tuple[float, float], ...]
    paint: float | Colour = 1.0

    @cached_property
    def mirrored_points(self) -> tuple[tuple[float, float], ...]:
        """The points seen in a mirror; of two corners the upper left stays first."""
        if self.form == "polygon":
            return tuple((1 - x, y) for x, y in self.points)
        (x1, y1), (x2, y2) = self.points
        return (1 - x2, y1), (1 - x1, y2)


@dataclass(frozen=True)
class Noun:
    """A kind of thing: its coreference type, width over height, and drawing, whose parts together fill the square."""

    name: str
    type: str
    aspect: float
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Level:
    """A world.

    ``num_entities`` are the fewest and most of a scene, ``side`` the range of their sides (geometric mean of width and
    height, as a fraction of the image), ``max_cover`` the share of a box that one other box may cover.
    """

    name: str
    nouns: tuple[Noun, ...]
    colours: dict[str, Colour]
    predicates: tuple[Predicate, ...]
    captions: tuple[Template, ...]
    region_descriptions: tuple[Template, ...]
    captions_per_image: int = 1
    num_entities: tuple[int, int] = (3, 6)
    side: tuple[float, float] = (0.22, 0.34)
    max_cover: float = 0.25

    @cached_property
    def paints(self) -> tuple[Colour, ...]:
        """The colours without their names, in order."""
        return tuple(self.colours.values())

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The detector's classes without background, such as "red dog": noun by noun, colour within noun."""
        return tuple(f"{colour} {noun.name}" for noun in self.nouns for colour in self.colours)


def _ellipse(x1: float, y1: float, x2: float, y2: float, paint: float | Colour = 1.0) -> Part:
    return Part("ellipse", ((x1, y1), (x2, y2)), paint)


def _rectangle(x1: float, y1: float, x2: float, y2: float, paint: float | Colour = 1.0) -> Part:
    return Part("rectangle", ((x1, y1), (x2, y2)), paint)


def _polygon(*points: tuple[float, float], paint: float | Colour = 1.0) -> Part:
    return Part("polygon", points, paint)


MAN = (
    _rectangle(0.0, 0.27, 1.0, 0.42),
    _rectangle(0.2, 0.27, 0.8, 0.62),
    _rectangle(0.2, 0.6, 0.43, 1.0, 0.7),
    _rectangle(0.57, 0.6, 0.8, 1.0, 0.7),
    _ellipse(0.26, 0.0, 0.74, 0.26, SKIN),
)
WOMAN = (
    _polygon((0.5, 0.2), (1.0, 0.8), (0.0, 0.8)),
    _rectangle(0.3, 0.8, 0.42, 1.0, SKIN),
    _rectangle(0.58, 0.8, 0.7, 1.0, SKIN),
    _ellipse(0.22, 0.0, 0.78, 0.32, DARK),
    _ellipse(0.32, 0.05, 0.68, 0.28, SKIN),
)
DOG = (
    _rectangle(0.1, 0.35, 0.78, 0.7),
    _rectangle(0.1, 0.65, 0.24, 1.0, 0.8),
    _rectangle(0.62, 0.65, 0.76, 1.0, 0.8),
    _polygon((0.0, 0.05), (0.08, 0.05), (0.2, 0.4), (0.1, 0.45)),
    _ellipse(0.62, 0.1, 1.0, 0.5),
    _polygon((0.66, 0.0), (0.78, 0.18), (0.64, 0.3), paint=0.7),
)
BIRD = (
    _ellipse(0.1, 0.4, 0.8, 0.9),
    _polygon((0.2, 0.0), (0.42, 0.0), (0.65, 0.6), (0.35, 0.6), paint=0.75),
    _polygon((0.0, 0.35), (0.25, 0.6), (0.0, 0.75)),
    _ellipse(0.64, 0.25, 0.9, 0.6),
    _polygon((0.86, 0.36), (1.0, 0.45), (0.86, 0.52), paint=(236, 160, 40)),
    _rectangle(0.42, 0.86, 0.48, 1.0, DARK),
)
CAR = (
    _rectangle(0.0, 0.42, 1.0, 0.82),
    _polygon((0.18, 0.45), (0.3, 0.0), (0.7, 0.0), (0.85, 0.45)),
    _polygon((0.28, 0.4), (0.36, 0.1), (0.64, 0.1), (0.74, 0.4), paint=(205, 228, 238)),
    _ellipse(0.1, 0.6, 0.34, 1.0, DARK),
    _ellipse(0.66, 0.6, 0.9, 1.0, DARK),
)
HAT = (
    _ellipse(0.0, 0.68, 1.0, 1.0, 0.85),
    _rectangle(0.24, 0.0, 0.76, 0.85),
    _rectangle(0.24, 0.62, 0.76, 0.74, DARK),
)
DRUM = (
    _rectangle(0.0, 0.24, 1.0, 0.86),
    _ellipse(0.0, 0.7, 1.0, 1.0),
    _ellipse(0.0, 0.1, 1.0, 0.42, (240, 232, 214)),
    _polygon((0.16, 0.0), (0.24, 0.0), (0.56, 0.26), (0.5, 0.3), paint=(150, 104, 60)),
    _polygon((0.84, 0.0), (0.92, 0.0), (0.62, 0.3), (0.56, 0.26), paint=(150, 104, 60)),
)
BALL = (
    _ellipse(0.0, 0.0, 1.0, 1.0),
    _ellipse(0.36, 0.0, 0.64, 1.0, (245, 245, 240)),
)

NOUNS = (
    Noun("man", "people", 0.55, MAN),
    Noun("woman", "people", 0.6, WOMAN),
    Noun("dog", "animals", 1.3, DOG),
    Noun("bird", "animals", 1.2, BIRD),
    Noun("car", "vehicles", 1.7, CAR),
    Noun("hat", "clothing", 1.5, HAT),
    Noun("drum", "instruments", 1.0, DRUM),
    Noun("ball", "other", 1.0, BALL),
)

COLOURS: dict[str, Colour] = {
    "red": (214, 38, 40),
    "green": (40, 160, 58),
    "blue": (36, 82, 214),
    "yellow": (242, 208, 28),
    "purple": (146, 44, 178),
    "black": (24, 24, 28),
}

PREDICATES = (
    Predicate("in front of", geometry.is_in_front_of, ("in|IN|prep|^ front|NN|pobj|0 of|IN|prep|1",)),
    Predicate("behind", geometry.is_behind, ("behind|IN|prep|^",)),
    Predicate(
        "left of",
        geometry.is_left_of,
        ("left|RB|advmod|^ of|IN|prep|0", "to|TO|prep|^ the|DT|det|2 left|NN|pobj|0 of|IN|prep|2"),
    ),
    Predicate(
        "right of",
        geometry.is_right_of,
        ("right|RB|advmod|^ of|IN|prep|0", "to|TO|prep|^ the|DT|det|2 right|NN|pobj|0 of|IN|prep|2"),
    ),
    Predicate("above", geometry.is_above, ("above|IN|prep|^", "over|IN|prep|^")),
    Predicate("below", geometry.is_below, ("below|IN|prep|^", "under|IN|prep|^")),
)
"""Of two entities, the first that holds is the one that is stated."""

CAPTIONS = (
    Template("{0}|nsubj|1 is|VBZ|root|- {0>1}|1 .|.|punct|1", 4),
    Template("there|EX|expl|1 is|VBZ|root|- {0}|nsubj|1 {0>1}|2 .|.|punct|1", 2),
    Template("{0}|root|- {0>1}|0 and|CC|cc|0 {2}|conj|0 .|.|punct|0", 1),
    Template("{0}|nsubj|1 is|VBZ|root|- {0>1}|1 and|CC|cc|2 {0>2}|2|conj .|.|punct|1", 1),
    Template("{0}|root|- and|CC|cc|0 {1}|conj|0 .|.|punct|0", 1),
    Template("there|EX|expl|1 is|VBZ|root|- {0}|nsubj|1 in|IN|prep|1 the|DT|det|5 picture|NN|pobj|3 .|.|punct|1", 0.5),
)
REGION_DESCRIPTIONS = (Template("{0}|root|- {0>1}|0"), Template("{0}|root|- and|CC|cc|0 {1}|conj|0", 0))
"""One relation; the second sentence is for the rare scene that has none."""

DEMO = Level("demo", NOUNS, COLOURS, PREDICATES, CAPTIONS, REGION_DESCRIPTIONS)

LEVELS: dict[str, Level] = {DEMO.name: DEMO}
