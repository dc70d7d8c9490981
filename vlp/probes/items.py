"""What a trained probe asks, as arrays: pairs of places in a sample, and questions about them.

A sample is read once, in a loader's process, and leaves a few small arrays (`Links`); questions (`PairItems`) are made
of those of all samples. Two probes that ask about the same pairs read the same activations.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from torchvision.ops import box_iou

from vlp.data.dataset import VLDataset
from vlp.data.loading import whole_batches
from vlp.data.ordering import Place
from vlp.data.sample import Regions, Sample
from vlp.data.tokenisation import CaptionTokenizer

# Axes: N items, M pairs, R regions, K boxes.

IOU = 0.5
"""A detected region stands for a box from this intersection over union on (reference, section 5)."""

UNSEEN = "pair of a class that training lacks"
NAMELESS = "pair without a class"
NO_PIECE = "pair whose phrase has no word piece"
TOO_LONG = "pair of a caption that is longer than the model reads"

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
ReadLinks = Callable[[Sample, np.random.Generator], "Links"]


@dataclass(frozen=True)
class Links:
    """Pairs of one sample, or of several one after the other: what probes may ask about.

    Args:
        first: (M, 2) characters of a phrase from start to end, or (M,) regions.
        second: (M,) regions.
        is_linked: (M,) bool, whether the annotation says that the two belong together.
        asks: (M,) bool, whether the question if they do is asked of this pair.
        kinds: of each pair, the class of its link; empty where it has none.
        types: of each pair, what it looks like whatever its label is: for the control task.
        sample: (M,) index into the data set; 0 in the pairs of one sample alone.
        skipped: what was left out by reason, whatever is asked.
        unasked: what else the question if two belong together leaves out, or what it has that is unlike the rest.
    """

    first: Ints
    second: Ints
    is_linked: Bools
    asks: Bools
    kinds: tuple[str, ...]
    types: tuple[str, ...]
    sample: Ints
    skipped: Counter[str]
    unasked: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        """Return the number of pairs M."""
        return len(self.second)

    @classmethod
    def together(cls, parts: Sequence[tuple[int, Links]]) -> Links:
        """Return the pairs of samples with their indices, as one."""
        links = [part for _, part in parts]
        return cls(
            first=np.concatenate([part.first for part in links]),
            second=np.concatenate([part.second for part in links]),
            is_linked=np.concatenate([part.is_linked for part in links]),
            asks=np.concatenate([part.asks for part in links]),
            kinds=tuple(kind for part in links for kind in part.kinds),
            types=tuple(kind for part in links for kind in part.types),
            sample=np.repeat([index for index, _ in parts], [len(part) for part in links]),
            skipped=sum((part.skipped for part in links), Counter()),
            unasked=sum((part.unasked for part in links), Counter()),
        )

    def only(self, kept: Bools, skipped: Counter[str] | None = None) -> Links:
        """Return the pairs that are ``kept``; ``skipped`` says why others are not."""
        rows = kept.nonzero()[0].tolist()
        return Links(
            self.first[kept],
            self.second[kept],
            self.is_linked[kept],
            self.asks[kept],
            tuple(self.kinds[row] for row in rows),
            tuple(self.types[row] for row in rows),
            self.sample[kept],
            self.skipped + (skipped or Counter()),
            self.unasked,
        )

    def asking(self) -> Links:
        """Return the pairs for the question if two belong together: what it leaves out counts as skipped."""
        return replace(self, skipped=self.skipped + self.unasked, unasked=Counter())


@dataclass(frozen=True)
class Pairs:
    """Pairs of places whose activations are read, those of a sample together.

    Args:
        sample: (M,) index into the data set, ascending.
        first: (M, 2) characters of a phrase from start to end, or (M,) regions.
        second: (M,) regions.
    """

    sample: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, links: Links) -> Pairs:
        """Return the places that ``links`` are between."""
        return cls(*(torch.from_numpy(part) for part in (links.sample, links.first, links.second)))

    def __len__(self) -> int:
        """Return the number of pairs M."""
        return len(self.sample)

    @property
    def has_phrase(self) -> bool:
        """Whether the first place is a phrase of the caption; else it is a region."""
        return self.first.dim() == 2

    @cached_property
    def samples(self) -> Tensor:
        """The samples that have a pair, ascending."""
        return self.sample.unique()

    @cached_property
    def digest(self) -> str:
        """The sha256 of what is read."""
        parts = (np.ascontiguousarray(part.numpy()) for part in (self.sample, self.first, self.second))
        return hashlib.sha256(b"".join(repr(part.shape).encode() + part.tobytes() for part in parts)).hexdigest()


@dataclass(frozen=True)
class PairItems:
    """One question about each of some pairs.

    Args:
        pairs: what is read.
        rows: (N,) long, the pair that each item is about.
        label: (N,) long, the true answer.
        classes: the answers there are.
        pair_type: (N,) long, what the pair looks like whatever its label is: for the control task.
        group: of each item, what it is drawn with: its image.
        skipped: what was left out, or is unlike the rest, by reason.
    """

    pairs: Pairs
    rows: Tensor
    label: Tensor
    classes: tuple[str, ...]
    pair_type: Tensor
    group: tuple[str, ...]
    skipped: Counter[str]

    def __len__(self) -> int:
        """Return the number of items N."""
        return len(self.label)

    @property
    def sample(self) -> Tensor:
        """(N,) the sample of each item."""
        return self.pairs.sample[self.rows]


def read_links(
    dataset: VLDataset, read: ReadLinks, limit: int | None, seed: int, batch_size: int = 64, num_workers: int = 0
) -> Links:
    """Return the pairs of the samples of ``dataset``, in their order, or of ``limit`` of them drawn at random.

    What is random about a sample depends on (seed, index) alone.

    Raises:
        ValueError: if there is no sample.
    """
    if not len(dataset):
        raise ValueError(f"dataset {dataset.name} split={dataset.split} has no sample")
    indices = chosen_samples(len(dataset), limit, seed)
    reader = whole_batches(_Reading(dataset, read, seed), _These(indices, batch_size), num_workers)
    parts = [part for batch in reader for part in batch]
    return Links.together(parts)


def readable(links: Links, sample: Sample, tokenizer: CaptionTokenizer, max_pieces: int) -> Links:
    """Return the pairs of ``sample`` that a model of ``max_pieces`` positions can be asked about.

    Raises:
        ValueError: naming a sample whose caption has no word piece at all.
    """
    if not len(links):
        return links
    tokens = tokenizer.encode(sample.caption, record=f"sample {sample.sample_id or sample.image_id}")
    if len(tokens) > max_pieces:
        return links.only(np.zeros(len(links), dtype=bool), Counter({TOO_LONG: len(links)}))
    if links.first.ndim == 1:
        return links
    has_piece = {tuple(span): len(tokens.pieces(*span)) > 0 for span in links.first.tolist()}
    kept = np.array([has_piece[tuple(span)] for span in links.first.tolist()])
    return links.only(kept, Counter({NO_PIECE: int((~kept).sum())}))


def chosen_samples(size: int, limit: int | None, seed: int) -> list[int]:
    """Return all of ``size`` samples, or ``limit`` of them drawn without replacement, ascending."""
    if limit is None or limit >= size:
        return list(range(size))
    return sorted(np.random.default_rng(seed).permutation(size)[:limit].tolist())


def regions_of(boxes: Tensor, regions: Regions) -> Ints:
    """Return for boxes (K, 4) the region each is, -1 for none: of highest IoU, at least `IOU`, gold where any is."""
    if not len(regions):
        return np.full(len(boxes), -1)
    is_candidate = regions.gold if regions.gold is not None and bool(regions.gold.any()) else None
    overlap_KR = box_iou(boxes, regions.boxes)
    if is_candidate is not None:
        overlap_KR = overlap_KR.masked_fill(~is_candidate, -1)
    best, index = overlap_KR.max(1)
    return index.masked_fill(best < IOU, -1).numpy()


def first_of_each(groups: Sequence[Ints], most: int | Ints, order: Ints) -> Bools:
    """Return (M,) bool: of the members of each group, the first ``most`` of them in ``order``.

    Args:
        groups: (M,) keys that together name a group.
        most: how many; one number, or one a member (the same within a group).
        order: (M,) ranks, all different.
    """
    _, group = np.unique(np.stack(groups), axis=1, return_inverse=True) if len(order) else (None, order)
    sequence = np.lexsort((order, group.reshape(-1)))
    sorted_group = group.reshape(-1)[sequence]
    starts = np.searchsorted(sorted_group, sorted_group)
    place = np.empty(len(order), dtype=np.int64)
    place[sequence] = np.arange(len(order)) - starts
    return place < most


def by_frequency(names: Sequence[str], most: int | None = None) -> tuple[str, ...]:
    """Return the names, the most frequent first and those of one frequency in order; at most ``most`` of them."""
    counts = Counter(name for name in names if name)
    return tuple(sorted(counts, key=lambda name: (-counts[name], name))[:most])


def linked_kinds(links: Links, most: int | None = None) -> tuple[str, ...]:
    """Return the kinds of linked pairs by frequency; at most ``most`` of them."""
    return by_frequency([kind for kind, linked in zip(links.kinds, links.is_linked, strict=True) if linked], most)


def numbered(names: Sequence[str], classes: Sequence[str]) -> Ints:
    """Return for each name its place among ``classes``, -1 where it is none of them."""
    places = {name: place for place, name in enumerate(classes)}
    return np.array([places.get(name, -1) for name in names], dtype=np.int64)


def items_of(
    links: Mapping[str, Links],
    datasets: Mapping[str, VLDataset],
    asked: Callable[[Links], Bools],
    label: Callable[[Links], Ints],
    classes: Sequence[str],
) -> dict[str, PairItems]:
    """Return the items of every split.

    Args:
        links: the pairs of every split.
        datasets: where they are from.
        asked: which of the pairs (M,) are asked about.
        label: the true answer of each pair (M,), -1 where it is none of ``classes``: these are left out and counted.
        classes: the answers there are.

    Raises:
        ValueError: if there are fewer than two classes, or a split has no item.
    """
    if len(classes) < 2:
        found = ", ".join(classes) or "none"
        raise ValueError(f"a probe needs at least 2 classes, dataset {datasets['train'].name} has {found}")
    types = {name: place for place, name in enumerate(sorted({name for part in links.values() for name in part.types}))}
    made = {}
    for split, part in links.items():
        answer = label(part)
        is_asked = asked(part)
        kept = is_asked & (answer >= 0)
        lost = [NAMELESS if not part.kinds[row] else UNSEEN for row in (is_asked & ~kept).nonzero()[0]]
        skipped = part.skipped + Counter(lost)
        rows = torch.from_numpy(kept.nonzero()[0])
        if not len(rows):
            left_out = ", ".join(f"{count} {reason}" for reason, count in skipped.items()) or "nothing"
            where = f"dataset {datasets[split].name} split={datasets[split].split}"
            raise ValueError(f"{where} has no pair to ask about; left out: {left_out}")
        made[split] = PairItems(
            pairs=Pairs.of(part),
            rows=rows,
            label=torch.from_numpy(answer)[rows],
            classes=tuple(classes),
            pair_type=torch.tensor([types[part.types[row]] for row in rows.tolist()]),
            group=tuple(datasets[split].image_key(index) for index in part.sample[kept].tolist()),
            skipped=skipped,
        )
    return made


class _These(Sampler[list[Place]]):
    """Some samples in batches."""

    def __init__(self, indices: Sequence[int], batch_size: int) -> None:
        self.indices, self.batch_size = indices, batch_size

    def __iter__(self) -> Iterator[list[Place]]:
        starts = range(0, len(self.indices), self.batch_size)
        return ([Place(0, index) for index in self.indices[start : start + self.batch_size]] for start in starts)

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)


class _Reading(Dataset[list[tuple[int, Links]]]):
    """The pairs of samples, addressed by lists of places."""

    def __init__(self, dataset: VLDataset, read: ReadLinks, seed: int) -> None:
        self.dataset, self.read, self.seed = dataset, read, seed

    def __getitem__(self, places: Sequence[Place]) -> list[tuple[int, Links]]:
        return [(place.index, self._links(place.index)) for place in places]

    def _links(self, index: int) -> Links:
        return self.read(self.dataset[index], np.random.default_rng([self.seed, index]))
