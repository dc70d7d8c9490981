"""Which regions are related and how: ordered pairs of objects of an annotation (VALUE section 4.4)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from vlp.data.sample import Relation, Sample
from vlp.probes.items import IOU, Bools, Ints, Links, first_of_each, numbered, regions_of

# Axes: M pairs, O objects, L relations, R regions.

NO_REGION = "relation with an end without a region of IoU >= 0.5"
ONE_REGION = "relation with both ends in one region"
RARE = "relation of another predicate than the most frequent"
MANY_IN_ONE = "relation beyond those of one type of an annotation"
MANY = "relation beyond those of one type"
NO_NEGATIVE = "relation without an unrelated pair in its annotation"
AGAIN = "relation of a pair that another predicate relates as well"


def relation_links(sample: Sample, generator: np.random.Generator) -> Links:
    """Return the pairs of a sample's objects: related, once for each predicate, and unrelated.

    Related are those of the annotation. Unrelated are ordered pairs of objects with different ids and no relation in
    either direction, of the annotation or not, whose boxes are not those of a related pair either (one object may have
    several ids and boxes). A pair whose ends have no region, or the same one, is left out.
    """
    annotated = tuple(relation for relation in sample.relations if relation.is_annotated)
    related = _related(annotated, sample)
    unrelated = _unrelated(sample)
    names = [f"{relation.subject}|{relation.object}" for relation in annotated]
    objects = [thing.names[0] if thing.names else "" for thing in sample.objects]
    types = [names[at] for at in related[0]] + [f"{objects[a]}|{objects[b]}" for a, b in unrelated[2]]
    kinds = [normalised(annotated[at].predicate) for at in related[0]]
    count = len(kinds)
    links = Links(
        first=np.concatenate([related[1], unrelated[0]]),
        second=np.concatenate([related[2], unrelated[1]]),
        is_linked=np.arange(len(types)) < count,
        asks=np.ones(len(types), dtype=bool),
        kinds=(*kinds, *[""] * (len(types) - count)),
        types=tuple(name.lower() for name in types),
        sample=np.zeros(len(types), dtype=np.int64),
        skipped=+related[3],
    )
    return links.only(_each_once(links))


def normalised(predicate: str) -> str:
    """Return a predicate in lower case, stripped, its spaces collapsed; words are left as they are.

    Example:
        >>> normalised(" Standing  ON ")
        'standing on'
    """
    return " ".join(predicate.lower().split())


def capped(links: Links, classes: tuple[str, ...], most_in_one: int | None, most: int | None, seed: int) -> Links:
    """Return ``links`` with their related pairs limited, and unrelated ones only where there is as much to compare.

    First those of ``classes`` are kept, then at most ``most_in_one`` of a class in a sample, then at most ``most`` of a
    class, drawn by ``seed`` (None: all of them). Of the related and unrelated pairs of a sample ``asks`` is then true
    for equally many, and for no two regions twice.
    """
    kind = numbered(links.kinds, classes)
    order = np.random.default_rng(seed).permutation(len(links))
    kept, skipped = links.is_linked & (kind >= 0), Counter[str]()
    skipped[RARE] = int((links.is_linked & (kind < 0)).sum())
    for groups, limit, reason in (((links.sample, kind), most_in_one, MANY_IN_ONE), ((kind,), most, MANY)):
        fits = np.zeros(len(links), dtype=bool)
        fits[kept] = limit is None or first_of_each([key[kept] for key in groups], limit, order[kept])
        skipped[reason] = int((kept & ~fits).sum())
        kept = fits
    once = np.zeros(len(links), dtype=bool)
    once[kept] = first_of_each([key[kept] for key in (links.sample, links.first, links.second)], 1, order[kept])
    asked = _balanced(links.sample, once, ~links.is_linked, order)
    unasked = Counter({AGAIN: int((kept & ~once).sum()), NO_NEGATIVE: int((once & ~asked).sum())})
    remaining = links.only(kept | asked, +skipped)
    return replace(remaining, asks=asked[kept | asked], unasked=remaining.unasked + unasked)


def _balanced(sample: Ints, positive: Bools, negative: Bools, order: Ints) -> Bools:
    """Return (M,) bool: of each sample as many positive as negative pairs, as many as there can be."""
    size = int(sample.max()) + 1 if len(sample) else 0
    most = np.minimum(*(np.bincount(sample[part], minlength=size) for part in (positive, negative)))
    asked = np.zeros(len(sample), dtype=bool)
    for part in (positive, negative):
        asked[part] = first_of_each([sample[part]], most[sample[part]], order[part])
    return asked


def _related(relations: tuple[Relation, ...], sample: Sample) -> tuple[Ints, Ints, Ints, Counter[str]]:
    """Return which relations have regions of their own at both ends, and these: three (L,), and what was left out."""
    subject, object_ = _ends(relations)
    first, second = _regions(subject, sample), _regions(object_, sample)
    is_found = (first >= 0) & (second >= 0)
    at = (is_found & (first != second)).nonzero()[0]
    lost = Counter({NO_REGION: int((~is_found).sum()), ONE_REGION: int((is_found & (first == second)).sum())})
    return at, first[at], second[at], lost


def _unrelated(sample: Sample) -> tuple[Ints, Ints, Ints]:
    """Return the regions of ordered pairs of unrelated objects, two (M,), and the objects (M, 2)."""
    boxes = torch.stack([thing.box for thing in sample.objects]) if sample.objects else torch.empty(0, 4)
    region = _regions(boxes, sample)
    subject, object_ = _ends(sample.relations)
    is_subject_OL, is_object_OL = (box_iou(boxes, ends).numpy() >= IOU for ends in (subject, object_))
    ids = np.array([thing.object_id for thing in sample.objects], dtype=object)
    is_subject_OL |= ids[:, None] == np.array([relation.subject_id for relation in sample.relations], dtype=object)
    is_object_OL |= ids[:, None] == np.array([relation.object_id for relation in sample.relations], dtype=object)
    is_related = is_subject_OL.astype(np.int64) @ is_object_OL.T.astype(np.int64) > 0
    is_pair = ~is_related & ~is_related.T & (ids[:, None] != ids[None])
    is_pair &= (region[:, None] >= 0) & (region[None] >= 0) & (region[:, None] != region[None])
    _, first, second, _ = _related(sample.relations, sample)
    taken_RR = np.zeros((len(sample.regions or ()) + 1,) * 2, dtype=bool)  # the last for those without a region
    taken_RR[[*first, *second], [*second, *first]] = True
    is_pair &= ~taken_RR[region[:, None], region[None]]
    pairs = np.argwhere(is_pair)
    return region[pairs[:, 0]], region[pairs[:, 1]], pairs


def _ends(relations: tuple[Relation, ...]) -> tuple[Tensor, Tensor]:
    if not relations:
        return torch.empty(0, 4), torch.empty(0, 4)
    return torch.stack([r.subject_box for r in relations]), torch.stack([r.object_box for r in relations])


def _regions(boxes: Tensor, sample: Sample) -> Ints:
    assert sample.regions is not None, "a probe that needs regions is given data without"
    return regions_of(boxes, sample.regions)


def _each_once(links: Links) -> Bools:
    """Return (M,) bool, false where two regions stand in one relation for a second time."""
    _, kind = np.unique(links.kinds, return_inverse=True)
    keys = np.stack([links.first, links.second, kind.reshape(-1)])
    once = np.zeros(len(links), dtype=bool)
    once[np.unique(keys, axis=1, return_index=True)[1]] = True
    return once
