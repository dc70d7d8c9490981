"""Samples made by hand whose pairs can be worked out on paper, and a data set of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vlp.data.dataset import VLDataset
from vlp.data.sample import AnnotatedObject, Phrase, Regions, Relation, Sample

FEATURE_WIDTH = 4
CORNERS = {
    "top left": (0.0, 0.0, 0.4, 0.4),
    "top right": (0.6, 0.0, 1.0, 0.4),
    "bottom left": (0.0, 0.6, 0.4, 1.0),
    "bottom right": (0.6, 0.6, 1.0, 1.0),
    "top left, a little off": (0.02, 0.0, 0.4, 0.4),
    "middle": (0.3, 0.3, 0.7, 0.7),
}
NOWHERE = (0.45, 0.0, 0.55, 0.1)


def box(name: str) -> Tensor:
    return torch.tensor(CORNERS.get(name, NOWHERE))


def boxes(*names: str) -> Tensor:
    return torch.stack([box(name) for name in names]) if names else torch.empty(0, 4)


def regions(*names: str, gold: int = 0) -> Regions:
    count = len(names)
    is_gold = torch.arange(count) < gold if gold else None
    features = torch.arange(count * FEATURE_WIDTH, dtype=torch.float32).view(count, FEATURE_WIDTH)
    return Regions(boxes(*names), features, gold=is_gold, class_ids=torch.arange(count) % 3)


def phrase(caption: str, text: str, chain: str, *names: str, kinds: Sequence[str] = ("people",)) -> Phrase:
    start = caption.index(text)
    return Phrase(start, start + len(text), text, chain, tuple(kinds), boxes(*names))


def thing(number: str, name: str, place: str) -> AnnotatedObject:
    return AnnotatedObject(number, (name,), box(place))


def relation(subject: AnnotatedObject, predicate: str, object_: AnnotatedObject) -> Relation:
    return Relation(
        subject.names[0], predicate, object_.names[0], subject.box, object_.box, subject.object_id, object_.object_id
    )


def sample(caption: str, image: str = "image", **parts: object) -> Sample:
    return replace(Sample(image, caption, 100, 100, f"sample of {image}"), **parts)


class Listed(VLDataset):
    """The samples it is given."""

    name = "listed"
    annotations = frozenset({"regions", "phrases", "objects", "relations"})
    feature_width = FEATURE_WIDTH

    def __init__(self, samples: Sequence[Sample], split: str = "train") -> None:
        self.samples, self.split, self.reads = list(samples), split, 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        self.reads += 1
        return self.samples[index]

    def image_key(self, index: int) -> str:
        return self.samples[index].image_id
