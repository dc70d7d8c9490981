"""Which phrase refers to which region: pairs of a caption, linked or not (VALUE section 4.3)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from torchvision.ops import box_iou

from vlp.data.sample import Phrase, Regions, Sample
from vlp.probes.items import IOU, Bools, Ints, Links, regions_of

# Axes: L links, C chains, R regions, K boxes.

NO_REGION = "link without a region of IoU >= 0.5"
NO_BOX = "phrase without a box"
NO_NEGATIVE = "link without an unlinked region"
FROM_DETECTED = "unlinked region of no chain of the caption"


def coreference_links(sample: Sample, generator: np.random.Generator) -> Links:
    """Return the pairs of a caption's phrases and regions.

    Linked are a phrase and a region for each box of the phrase. For each the same phrase stands with a region of
    another chain of the caption, drawn at random, each once; only if there is none, with a region that is not gold and
    has an IoU below 0.5 with every box of the chain (counted: "annotated or not" would tell such a pair). If there is
    none of these either, or a phrase has fewer of them than links, nothing is asked of the link but its type.
    """
    regions = sample.regions
    assert regions is not None, "a probe that needs regions is given data without"
    phrases = [phrase for phrase in sample.phrases if len(phrase.boxes)]
    skipped = Counter({NO_BOX: len(sample.phrases) - len(phrases)})
    if not phrases:
        return _empty(+skipped)
    found = _Found.of(phrases, regions)
    skipped[NO_REGION] += found.num_lost
    negative, is_foreign = found.unlinked(generator)
    has_negative = negative >= 0
    unasked = Counter({NO_NEGATIVE: int((~has_negative).sum())})
    unasked[FROM_DETECTED] = int((has_negative & ~is_foreign).sum())
    second = np.concatenate([found.region, negative[has_negative]])
    phrase = np.concatenate([found.phrase, found.phrase[has_negative]])
    spans = np.array([(p.start, p.end) for p in phrases], dtype=np.int64)
    is_linked = np.arange(len(second)) < len(found.region)
    return Links(
        first=spans[phrase],
        second=second,
        is_linked=is_linked,
        asks=np.concatenate([has_negative, np.ones(int(has_negative.sum()), dtype=bool)]),
        kinds=tuple(_kind(phrases[at]) if linked else "" for at, linked in zip(phrase, is_linked, strict=True)),
        types=tuple(_looks(phrases[at], regions, region) for at, region in zip(phrase, second, strict=True)),
        sample=np.zeros(len(second), dtype=np.int64),
        skipped=+skipped,
        unasked=+unasked,
    )


@dataclass(frozen=True)
class _Found:
    """The links of a sample, each once.

    ``phrase`` and ``region`` (L,) are what each is between, ``chain`` (L,) whose. ``is_linked`` (C, R) says which
    regions a chain is linked to, ``overlap`` (C, R) is the highest IoU of a region with any box of a chain, and
    ``is_free`` (R,) which regions stand for no annotated box by themselves. ``num_lost`` links have no region.
    """

    phrase: Ints
    region: Ints
    chain: Ints
    is_linked: Bools
    overlap: np.ndarray
    is_free: Bools
    num_lost: int

    @classmethod
    def of(cls, phrases: list[Phrase], regions: Regions) -> _Found:
        boxes = torch.cat([phrase.boxes for phrase in phrases])
        phrase_K = np.repeat(np.arange(len(phrases)), [len(phrase.boxes) for phrase in phrases])
        chains, chain_of = np.unique([phrase.chain_id for phrase in phrases], return_inverse=True)
        region_K = regions_of(boxes, regions)
        links = np.unique(np.stack([phrase_K, region_K])[:, region_K >= 0], axis=1)
        phrase, region = links
        is_linked = np.zeros((len(chains), len(regions)), dtype=bool)
        is_linked[chain_of[phrase], region] = True
        overlap = np.zeros((len(chains), len(regions)))
        np.maximum.at(overlap, chain_of[phrase_K], box_iou(boxes, regions.boxes).numpy())
        is_free = np.ones(len(regions), dtype=bool) if regions.gold is None else ~regions.gold.numpy()
        return cls(phrase, region, chain_of[phrase], is_linked, overlap, is_free, int((region_K < 0).sum()))

    def unlinked(self, generator: np.random.Generator) -> tuple[Ints, Bools]:
        """Return for each link a region that its phrase is not linked to, -1 for none, and whether of another chain.

        A phrase has no region twice: where it has more links than there are regions, chance says which have one.
        """
        is_apart_CR = (self.overlap < IOU) & ~self.is_linked
        foreign_LR = (is_apart_CR & self.is_linked.any(0))[self.chain]
        free_LR = (is_apart_CR & self.is_free)[self.chain]
        is_foreign = np.asarray(foreign_LR.any(1))
        allowed_LR = np.where(is_foreign[:, None], foreign_LR, free_LR)
        negative = np.full(len(self.phrase), -1)
        for phrase in np.unique(self.phrase):
            links = (self.phrase == phrase).nonzero()[0]
            drawn = generator.permutation(allowed_LR[links[0]].nonzero()[0])[: len(links)]
            negative[generator.permutation(links)[: len(drawn)]] = drawn
        return negative, is_foreign


def _kind(phrase: Phrase) -> str:
    return phrase.types[0] if phrase.types else ""


def _looks(phrase: Phrase, regions: Regions, region: int) -> str:
    return f"{phrase.text.lower()}|{'' if regions.class_ids is None else int(regions.class_ids[region])}"


def _empty(skipped: Counter[str]) -> Links:
    nothing = np.empty(0, dtype=np.int64)
    return Links(nothing.reshape(0, 2), nothing, nothing.astype(bool), nothing.astype(bool), (), (), nothing, skipped)
