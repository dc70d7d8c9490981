"""The one example type of every dataset (`Sample`) and what a model reads (`Batch`).

Boxes are (x1, y1, x2, y2), normalised to [0, 1] by image width and height, with x2 >= x1 and y2 >= y1. Character
offsets refer to `Sample.caption`, which is the file's string unchanged. Image ids are strings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

# Axes: B batch, T text tokens, V visual tokens, R regions, F feature width, C classes, K boxes or aligned words.

ANNOTATIONS = frozenset(
    {"regions", "gold", "class_probs", "pixels", "phrases", "objects", "relations", "parse", "label", "foil"}
)
"""What a dataset may have and a probe may need."""


@dataclass(frozen=True)
class Phrase:
    """A span of the caption and the boxes it refers to.

    ``caption[start:end] == text``. Phrases with one ``chain_id`` in an image corefer. ``types`` keeps the file's order;
    ``boxes`` is (K, 4), where K is 0 for a phrase that has none.
    """

    start: int
    end: int
    text: str
    chain_id: str
    types: tuple[str, ...]
    boxes: Tensor


@dataclass(frozen=True)
class AnnotatedObject:
    """An object somebody marked in the image: one box (4,), its names, its attributes."""

    object_id: str
    names: tuple[str, ...]
    box: Tensor
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Relation:
    """A subject-predicate-object triple by name, with the boxes (4,) and, where the file has them, ids of both ends.

    ``is_annotated`` is false where it is known to hold and is no part of this annotation: of another text of the image.
    """

    subject: str
    predicate: str
    object: str
    subject_box: Tensor
    object_box: Tensor
    subject_id: str | None = None
    object_id: str | None = None
    is_annotated: bool = True


@dataclass(frozen=True)
class Parse:
    """A dependency parse of the caption: one entry a word.

    ``starts`` and ``ends`` are character offsets, ``heads`` the index of each word's governor (-1 for the root),
    ``labels`` the arc to it in the scheme that ``scheme`` names (``stanford``, ``ud``), ``tags`` parts of speech.
    """

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    heads: tuple[int, ...]
    labels: tuple[str, ...]
    tags: tuple[str, ...] = ()
    scheme: str = "stanford"


@dataclass(frozen=True)
class Regions:
    """Region proposals of one image: gold boxes (``gold`` true), where there are any, then detected ones.

    ``boxes`` (R, 4), ``features`` (R, F), ``confidence`` (R,) in [0, 1], ``class_probs`` (R, C) with background in
    column 0, ``gold`` (R,) bool, ``class_ids`` and ``attribute_ids`` (R,) without background, ``attribute_confidence``
    (R,).
    """

    boxes: Tensor
    features: Tensor
    confidence: Tensor | None = None
    class_probs: Tensor | None = None
    gold: Tensor | None = None
    class_ids: Tensor | None = None
    attribute_ids: Tensor | None = None
    attribute_confidence: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of regions R."""
        return len(self.boxes)


def _no_image() -> Image | None:
    return None


@dataclass(frozen=True)
class Sample:
    """One caption with its image and whatever annotations the dataset has.

    ``is_matched`` is false where the file says that the caption is not true of the image. ``label`` is a task's label
    (an answer, a class), ``foil`` a caption made wrong on purpose, ``sample_id`` names the annotation in error messages
    and keeps relations of one region description together. ``read_image`` is called by `image` only when asked.
    """

    image_id: str
    caption: str
    width: int
    height: int
    sample_id: str = ""
    regions: Regions | None = None
    phrases: tuple[Phrase, ...] = ()
    objects: tuple[AnnotatedObject, ...] = ()
    relations: tuple[Relation, ...] = ()
    parse: Parse | None = None
    label: str | int | None = None
    is_matched: bool = True
    foil: str | None = None
    read_image: Callable[[], Image | None] = field(default=_no_image, repr=False, compare=False)

    def image(self) -> Image | None:
        """Return the image as RGB, or None where the dataset has no pixels."""
        return self.read_image()


@dataclass
class Batch:
    """What an encoder reads; text first, vision second.

    An image may have several texts. Then ``pixels``, ``pixel_mask`` and ``image_sizes`` have a row for each of I images
    and ``image_of`` says which of them each of the B pairs has; a model parses an image once.

    Args:
        input_ids: (B, T) long.
        text_mask: (B, T) bool, true at real tokens; padding stands at the end.
        token_types: (B, T) long, the segment of each token.
        features: (B, V, F) float region features, or None.
        boxes: (B, V, 4) float in [0, 1], or None.
        region_mask: (B, V) bool, true at real regions, or None.
        image_sizes: (B, 2) or (I, 2) long, width and height in pixels.
        masked_regions: (B, V) bool, true where the model must not see the region's feature.
        visual_types: (B, V) long, the visual segment (NLVR2: 0 left, 1 right).
        alignment: (B, V, K) long, positions of the words aligned with each region, -1 for none.
        pixels: (B, 3, H, W) or (I, 3, H, W) float, for models that read images.
        pixel_mask: (B, H, W) or (I, H, W) bool, false at padding.
        image_of: (B,) long, the row of ``pixels`` that each pair has; None where each has its own, in order.
        pivots: (B,) float in [0, 1), the place of one visual token among an image's, row by row; a model that finds
            visual tokens itself hides it and others with it (SOHO: those it takes for the same). NaN where nothing is
            hidden.
        num_hidden: how many visual tokens of an image are hidden with its pivot, itself included; None where the model
            decides.
    """

    input_ids: Tensor
    text_mask: Tensor
    token_types: Tensor
    features: Tensor | None = None
    boxes: Tensor | None = None
    region_mask: Tensor | None = None
    image_sizes: Tensor | None = None
    masked_regions: Tensor | None = None
    visual_types: Tensor | None = None
    alignment: Tensor | None = None
    pixels: Tensor | None = None
    pixel_mask: Tensor | None = None
    image_of: Tensor | None = None
    pivots: Tensor | None = None
    num_hidden: int | None = None

    def __len__(self) -> int:
        """Return the batch size B."""
        return len(self.input_ids)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Return the batch with every tensor on ``device``."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory."""
        return self._map(Tensor.pin_memory)

    def text_only(self) -> Batch:
        """Return the batch without its image."""
        return Batch(self.input_ids, self.text_mask, self.token_types)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        mapped = {name: function(value) for name, value in values.items() if isinstance(value, Tensor)}
        return Batch(**{**values, **mapped})
