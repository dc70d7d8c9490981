"""Pre-training pairs: image and caption, corrupted for the objectives, as batches.

Everything random about a pair is drawn from a generator seeded by (seed, epoch, index), and its number among the texts
of an image, so that a pair does not depend on the worker that prepares it nor on what was prepared before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vlp.data.collate import collate_inputs, pad
from vlp.data.dataset import VLDataset, other_image
from vlp.data.groups import Texts, matched_groups
from vlp.data.masking import IGNORE, Corruption, Example, PairMismatch
from vlp.data.ordering import Place
from vlp.data.pixels import PixelInput
from vlp.data.sample import Batch, Regions, Sample
from vlp.data.tokenisation import CaptionTokenizer, TokenizedCaption

# Axes: B pairs, T text tokens, V regions, F feature width, C classes.


@dataclass
class PretrainingBatch:
    """Corrupted inputs and what the objectives ask of them.

    Args:
        inputs: what the model reads; ``inputs.masked_regions`` are hidden from it.
        is_matched: (B,) bool, whether the caption is true of the image.
        text_labels: (B, T) long, `IGNORE` where nothing is asked.
        asked_regions: (B, V) bool, regions whose content is asked for.
        features: (B, V, F) the regions' features before masking.
        class_probs: (B, V, C) the detector's class distributions, background first.
        tasks: objectives this batch is for; empty for all.
        sample_ids: of the pairs; one that was mismatched keeps the id it had.
    """

    inputs: Batch
    is_matched: Tensor
    text_labels: Tensor
    asked_regions: Tensor | None = None
    features: Tensor | None = None
    class_probs: Tensor | None = None
    tasks: tuple[str, ...] = ()
    sample_ids: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of pairs B."""
        return len(self.is_matched)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PretrainingBatch:
        """Return the batch with every tensor on ``device``."""
        return self._map(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> PretrainingBatch:
        """Return the batch in page-locked memory; without this method a loader leaves it where it is."""
        return self._map(lambda value: value.pin_memory())

    def concerns(self, task: str) -> bool:
        """Return whether ``task`` is asked of this batch."""
        return not self.tasks or task in self.tasks

    def _map(self, function: Callable[[Any], Any]) -> PretrainingBatch:
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        present = {name: value for name, value in values.items() if isinstance(value, Tensor | Batch)}
        return replace(self, **{name: function(value) for name, value in present.items()})


class PretrainingPairs(Dataset[PretrainingBatch]):
    """Batches of corrupted pairs, addressed by lists of places.

    A place is a pair's; with ``texts`` it is that of a group of pairs, which share an image.

    Args:
        dataset: where samples come from.
        tokenizer: cuts captions.
        corruptions: by objective; a batch for some objectives gets theirs only.
        seed: of every draw.
        max_pieces: the longest caption the model takes, in pieces, specials included.
        pixel_input: the pixels the model reads; None for a model that reads none.
        texts: how many captions an image has, and how many of others; `PairMismatch` then has no say. None: every
            caption is a pair with its image, and `PairMismatch` decides.
    """

    def __init__(
        self,
        dataset: VLDataset,
        tokenizer: CaptionTokenizer,
        corruptions: Mapping[str, Corruption],
        seed: int = 0,
        max_pieces: int | None = None,
        pixel_input: PixelInput | None = None,
        texts: Texts | None = None,
    ) -> None:
        self.dataset = dataset
        self.tokenizer = tokenizer
        # The pair is settled before anything of it is hidden.
        settling = {
            task: corruption for task, corruption in corruptions.items() if isinstance(corruption, PairMismatch)
        }
        hiding = {task: corruption for task, corruption in corruptions.items() if task not in settling}
        self.corruptions = {**(settling if texts is None else {}), **hiding}
        self.seed = seed
        self.max_pieces = max_pieces
        self.pixel_input = pixel_input
        self.truth_annotated: bool = dataset.truth_annotated
        self.texts = texts
        self.groups = None if texts is None else matched_groups(dataset, texts.matched)

    def __len__(self) -> int:
        """Return the number of places."""
        return len(self.dataset) if self.groups is None else len(self.groups)

    @property
    def pairs_a_place(self) -> int:
        """How many pairs a place has."""
        return 1 if self.texts is None else len(self.texts)

    def __getitem__(self, places: Sequence[Place]) -> PretrainingBatch:
        """Return the batch of ``places``, which share their tasks."""
        return self.collate([example for place in places for example in self.examples(place)], places[0].tasks)

    def length(self, index: int) -> int:
        """Return the length of a caption in words, for bucketing."""
        return self.dataset.caption(index).count(" ")

    def examples(self, place: Place) -> list[Example]:
        """Return the corrupted pairs at ``place``, of one image: those whose caption is true of it come first.

        Raises:
            ValueError: naming the sample whose caption is empty or too long.
        """
        if self.texts is None or self.groups is None:
            generator = np.random.default_rng([self.seed, place.epoch, place.index])
            return [self._corrupted(self._plain(place.index), place.tasks, generator)]
        captions = [int(index) for index in self.groups[place.index]]
        plain = {index: self._plain(index) for index in set(captions)}
        examples = []
        for number in range(len(self.texts)):
            generator = np.random.default_rng([self.seed, place.epoch, place.index, number])
            example = replace(plain[captions[number % len(captions)]])
            if number >= len(captions):
                self.with_caption(example, self.other(example, generator))
                example.is_matched = False
            examples.append(self._corrupted(example, place.tasks, generator))
        return examples

    def _corrupted(self, example: Example, tasks: tuple[str, ...], generator: np.random.Generator) -> Example:
        for task, corruption in self.corruptions.items():
            if not tasks or task in tasks:
                corruption(example, self, generator)
        return example

    def other(self, example: Example, generator: np.random.Generator) -> int:
        """Return the place of a sample whose image (or sentence group) is another, each equally likely.

        Raises:
            ValueError: as `other_image`.
        """
        return other_image(self.dataset, example.index, generator, repr(example.sample.image_id))

    def with_caption(self, example: Example, donor: int) -> None:
        """Give ``example`` the caption of the sample at ``donor``, whose image is not opened."""
        text = self.dataset.without_image(donor)
        example.tokens = self._tokens(text)
        example.input_ids = example.tokens.input_ids
        example.text_labels = torch.full_like(example.input_ids, IGNORE)
        example.sample = replace(example.sample, caption=text.caption, phrases=text.phrases)

    def with_image(self, example: Example, donor: int) -> None:
        """Give ``example`` the image of the sample at ``donor``."""
        other = self._sample(donor)
        example.regions = other.regions
        example.sample = replace(
            example.sample, image_id=other.image_id, width=other.width, height=other.height, read_image=other.read_image
        )

    def collate(self, examples: Sequence[Example], tasks: tuple[str, ...]) -> PretrainingBatch:
        """Return ``examples`` as one batch; those of one place, which share an image, stand together."""
        shared = self.pairs_a_place if self.pixel_input is not None else 1
        inputs = collate_inputs(
            [e.input_ids for e in examples],
            [e.tokens.token_types for e in examples],
            [e.regions for e in examples],
            [e.sample for e in examples[::shared]],
            self.tokenizer.pad_id,
            self.pixel_input,
            torch.arange(len(examples)) // shared if shared > 1 else None,
        )
        batch = PretrainingBatch(
            inputs,
            is_matched=torch.tensor([e.is_matched for e in examples]),
            text_labels=pad([e.text_labels for e in examples], IGNORE),
            tasks=tasks,
            sample_ids=tuple(_name(e.sample) for e in examples),
        )
        if any(not math.isnan(e.pivot) for e in examples):
            inputs.pivots = torch.tensor([e.pivot for e in examples])
            inputs.num_hidden = _only({e.num_hidden for e in examples})
        if inputs.pixels is not None:
            hidden = [e.hidden_regions for e in examples if e.hidden_regions is not None]
            inputs.masked_regions = pad(hidden) if hidden else None
        if inputs.region_mask is not None:
            regions = [e.regions for e in examples if e.regions is not None]
            self._add_region_targets(batch, examples, regions)
        return batch

    def _add_region_targets(
        self, batch: PretrainingBatch, examples: Sequence[Example], regions: Sequence[Regions]
    ) -> None:
        nothing = [torch.zeros(len(r), dtype=torch.bool) for r in regions]
        hidden = [e.hidden_regions for e in examples]
        asked = [e.asked_regions for e in examples]
        if any(h is not None for h in hidden):
            batch.inputs.masked_regions = pad([_or(h, none) for h, none in zip(hidden, nothing, strict=True)])
        if any(a is not None for a in asked):
            batch.asked_regions = pad([_or(a, none) for a, none in zip(asked, nothing, strict=True)])
            batch.features = batch.inputs.features
            probabilities = [r.class_probs for r in regions if r.class_probs is not None]
            if len(probabilities) == len(regions):
                batch.class_probs = pad(probabilities)

    def _sample(self, index: int) -> Sample:
        return self.dataset[index] if self.pixel_input is None else self.dataset.without_regions(index)

    def _tokens(self, sample: Sample) -> TokenizedCaption:
        name, most = f"sample {_name(sample)}", self.max_pieces
        longest = None if self.texts is None else self.texts.longest
        if longest is None:
            return self.tokenizer.encode(sample.caption, most, name)
        return self.tokenizer.encode(sample.caption, None, name).cut(min(longest, most or longest))

    def _plain(self, index: int) -> Example:
        sample = self._sample(index)
        tokens = self._tokens(sample)
        labels = torch.full_like(tokens.input_ids, IGNORE)
        return Example(index, sample, tokens, tokens.input_ids, labels, sample.is_matched, sample.regions)


def _name(sample: Sample) -> str:
    return sample.sample_id or sample.image_id


def _only(numbers: set[int | None]) -> int | None:
    """Return the one number that all examples of a batch share.

    Raises:
        ValueError: if they differ.
    """
    if len(numbers) != 1:
        found = ", ".join(map(str, sorted(numbers, key=str)))
        raise ValueError(f"images of a batch have {found} cells hidden: a ratio needs images of one size")
    return next(iter(numbers))


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
