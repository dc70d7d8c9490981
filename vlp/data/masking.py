"""What pre-training hides from the model: words, regions, and which image a caption belongs to.

A corruption changes one `Example` before it is put into a batch. It draws from the generator it is given, which is
seeded by (seed, epoch, index): the same pair looks the same whatever worker prepares it. Corruptions treat matched and
mismatched pairs alike, so that a mask never tells whether the pair matches; only what is *asked* of a pair may differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from vlp.data.pixels import PixelInput
from vlp.data.sample import Regions, Sample
from vlp.data.tokenisation import CaptionTokenizer, TokenizedCaption

# Axes: T word pieces, V regions.

IGNORE = -100
"""Label of a position whose word is not asked for."""


@dataclass
class Example:
    """A pair on its way into a batch.

    ``index`` is the caption's place in the dataset, ``sample`` describes the pair as it is; ``input_ids`` (T,) is what
    the model will read, ``text_labels`` (T,) the words asked for (`IGNORE` elsewhere), ``hidden_regions`` (V,) bool the
    regions whose feature is hidden (or cells of the image, row by row), ``asked_regions`` (V,) bool those whose content
    is asked for; ``pivot`` is a visual token's place in [0, 1), see `vlp.data.sample.Batch.pivots`, or NaN, and
    ``num_hidden`` how many tokens are hidden with it.
    """

    index: int
    sample: Sample
    tokens: TokenizedCaption
    input_ids: Tensor
    text_labels: Tensor
    is_matched: bool
    regions: Regions | None
    hidden_regions: Tensor | None = None
    asked_regions: Tensor | None = None
    pivot: float = math.nan
    num_hidden: int | None = None


class PairSource(Protocol):
    """What a corruption may ask of the data the example comes from."""

    tokenizer: CaptionTokenizer
    truth_annotated: bool
    pixel_input: PixelInput | None

    def other(self, example: Example, generator: np.random.Generator) -> int:
        """Return the place of a sample of another image, each equally likely."""
        ...

    def with_caption(self, example: Example, donor: int) -> None:
        """Give ``example`` the caption of the sample at ``donor``, whose image is not opened."""
        ...

    def with_image(self, example: Example, donor: int) -> None:
        """Give ``example`` the image of the sample at ``donor``."""
        ...


class Corruption(Protocol):
    """One change of an example, drawn from ``generator``."""

    def __call__(self, example: Example, source: PairSource, generator: np.random.Generator) -> None:
        """Change ``example`` in place."""
        ...


@dataclass(frozen=True)
class PairMismatch:
    """Image-text matching: with some probability the image or the caption is another's.

    UNITER replaces the image, LXMERT the sentence. Data that say themselves which pairs match (NLVR) are left alone.

    Args:
        probability: of a mismatch.
        replace: what is replaced.
    """

    probability: float = 0.5
    replace: Literal["image", "text"] = "image"

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_share("probability", self.probability)
        if self.replace not in ("image", "text"):
            raise ValueError(f"replace={self.replace!r}: expected 'image' or 'text'")

    def __call__(self, example: Example, source: PairSource, generator: np.random.Generator) -> None:
        """Replace image or caption, or leave the pair as it is."""
        if source.truth_annotated or generator.random() >= self.probability:
            return
        donor = source.other(example, generator)
        exchange = source.with_image if self.replace == "image" else source.with_caption
        exchange(example, donor)
        example.is_matched = False


@dataclass(frozen=True)
class TextMasking:
    """BERT's masking: of the chosen pieces most become [MASK], some a random piece, the rest stay.

    Args:
        probability: of a piece to be chosen.
        mask_share: share of the chosen pieces that become [MASK].
        random_share: share of them that become a random piece.
        at_least_one: choose the first piece where none was drawn (UNITER).
        in_phrases: probability inside the caption's annotated phrases, where the words are that the image decides; null
            for the same as elsewhere.
        on_mismatched: whether words of mismatched pairs are asked for too; they are hidden either way.
    """

    probability: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1
    at_least_one: bool = True
    on_mismatched: bool = False
    in_phrases: float | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        for name in ("probability", "mask_share", "random_share"):
            check_share(name, getattr(self, name))
        check_share("in_phrases", self.in_phrases or 0.0)
        if self.mask_share + self.random_share > 1:
            raise ValueError(f"mask_share={self.mask_share} and random_share={self.random_share} sum to more than 1")

    def __call__(self, example: Example, source: PairSource, generator: np.random.Generator) -> None:
        """Hide pieces of the caption."""
        words = (~example.tokens.special).nonzero().squeeze(1)
        chosen = words[torch.from_numpy(generator.random(len(words))) < self._probabilities(example)[words]]
        if self.at_least_one and not len(chosen):
            chosen = words[:1]
        labels = torch.full_like(example.input_ids, IGNORE)
        if example.is_matched or self.on_mismatched:
            labels[chosen] = example.input_ids[chosen]
        fate = torch.from_numpy(generator.random(len(chosen)))
        pool = source.tokenizer.word_ids
        drawn = pool[torch.from_numpy(generator.integers(len(pool), size=len(chosen)))]
        masked = example.input_ids.clone()
        masked[chosen[fate < self.mask_share]] = source.tokenizer.mask_id
        is_random = (fate >= self.mask_share) & (fate < self.mask_share + self.random_share)
        masked[chosen[is_random]] = drawn[is_random]
        example.input_ids, example.text_labels = masked, labels

    def _probabilities(self, example: Example) -> Tensor:
        probabilities_T = torch.full((len(example.tokens),), self.probability, dtype=torch.float64)
        if self.in_phrases is not None:
            for phrase in example.sample.phrases:
                probabilities_T[example.tokens.pieces(phrase.start, phrase.end)] = self.in_phrases
        return probabilities_T


@dataclass(frozen=True)
class RegionMasking:
    """Masked region modelling: regions whose feature the model must not see.

    UNITER hides every chosen region and chooses at least one; VOLTA hides 90 % of them and forces none.

    Args:
        probability: of a region to be chosen.
        hidden_share: share of the chosen regions that are hidden; the rest stay visible and are asked for all the same.
        at_least_one: choose one region at random where none was drawn.
        on_mismatched: whether regions of mismatched pairs are asked for too; they are hidden either way.
    """

    probability: float = 0.15
    hidden_share: float = 1.0
    at_least_one: bool = True
    on_mismatched: bool = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_share("probability", self.probability)
        check_share("hidden_share", self.hidden_share)

    def __call__(self, example: Example, source: PairSource, generator: np.random.Generator) -> None:
        """Hide regions of the image."""
        if example.regions is None or not len(example.regions):
            raise ValueError(f"sample {example.sample.sample_id!r} has no regions, which masked region modelling needs")
        count = len(example.regions)
        chosen = torch.from_numpy(generator.random(count) < self.probability)
        forced = int(generator.integers(count))
        if self.at_least_one and not chosen.any():
            chosen[forced] = True
        is_asked = example.is_matched or self.on_mismatched
        example.asked_regions = chosen if is_asked else torch.zeros_like(chosen)
        example.hidden_regions = chosen & torch.from_numpy(generator.random(count) < self.hidden_share)


@dataclass(frozen=True)
class PivotMasking:
    """Masked visual modelling on a grid: one cell of an image, and those that the model takes for the same.

    SOHO's released code draws one cell for a whole batch; here every image has its own.

    Args:
        probability: of an image to have cells hidden.
        on_mismatched: whether cells of mismatched pairs are asked for too; they are hidden either way.
    """

    probability: float = 0.015
    on_mismatched: bool = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_share("probability", self.probability)

    def __call__(self, example: Example, source: PairSource, generator: np.random.Generator) -> None:
        """Choose the cell, or none."""
        fate, pivot = generator.random(2)
        if fate < self.probability:
            example.pivot = float(pivot)


@dataclass(frozen=True)
class CellMasking:
    """Masked feature regression on a grid: so many cells of every image.

    Args:
        masking: ``parsed``: a random cell and those that it attends to most, which the model finds where it parses the
            image; ``random``: cells drawn without replacement.
        k: how many.
        ratio: in the place of ``k`` a share of the image's cells, in (0, 1).
        on_mismatched: whether cells of mismatched pairs are asked for too; they are hidden either way.
    """

    masking: Literal["parsed", "random"] = "parsed"
    k: int | None = 7
    ratio: float | None = None
    on_mismatched: bool = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.masking not in ("parsed", "random"):
            raise ValueError(f"masking={self.masking!r}: expected 'parsed' or 'random'; for none leave mfr out")
        if (self.k is None) == (self.ratio is None):
            raise ValueError(f"k={self.k} and ratio={self.ratio}: expected one of the two")
        if self.k is not None and self.k < 1:
            raise ValueError(f"k={self.k}: expected at least 1")
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise ValueError(f"ratio={self.ratio}: expected a share in (0, 1)")

    def __call__(self, example: Example, source: PairSource, generator: np.random.Generator) -> None:
        """Draw the pivot, or all cells.

        Raises:
            ValueError: if no pixels are read, or the image has not more cells than are to be hidden.
        """
        if source.pixel_input is None:
            raise ValueError("cells are hidden of images, and the model reads no pixels")
        rows, columns = source.pixel_input.grid(example.sample)
        count = self.number(rows * columns)
        if self.masking == "parsed":
            example.pivot, example.num_hidden = float(generator.random()), count
        else:
            hidden = torch.zeros(rows * columns, dtype=torch.bool)
            hidden[torch.from_numpy(generator.permutation(rows * columns)[:count])] = True
            example.hidden_regions = hidden

    def number(self, num_cells: int) -> int:
        """Return how many of ``num_cells`` are hidden.

        Raises:
            ValueError: if that is all of them.
        """
        count = self.k if self.k is not None else max(1, round((self.ratio or 0) * num_cells))
        if count >= num_cells:
            raise ValueError(f"k={count}: the image has {num_cells} cells, and one at least has to be seen")
        return count


@dataclass(frozen=True)
class Unchanged:
    """Changes nothing: for an objective that takes pairs as the others leave them."""

    def __call__(self, example: Example, source: PairSource, generator: np.random.Generator) -> None:
        """Leave the pair as it is."""


def check_share(name: str, value: float) -> None:
    """Raise a ValueError unless ``value`` lies in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value}: expected a share in [0, 1]")
