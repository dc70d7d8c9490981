"""The scenes dataset: every sample a function of (seed, split, index), of nothing else."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

from vlp.data.bounded_cache import BoundedCache
from vlp.data.dataset import VLDataset, check_split
from vlp.data.featuriser import CropFeaturiser, sample_grid
from vlp.data.sample import AnnotatedObject, Parse, Phrase, Regions, Relation, Sample
from vlp.data.scenes.captions import Description, Relations, describe, relate
from vlp.data.scenes.detector import Detections, classify, detect, gold_boxes
from vlp.data.scenes.levels import LEVELS, Level
from vlp.data.scenes.renderer import render
from vlp.data.scenes.world import Scene, imagine

PARTS = {"train": 16_384, "val": 1_024, "test": 1_024}
"""Samples of each split where ``size`` does not say otherwise; ``all`` is the three in this order."""

TEXTS = ("caption", "region_description")
REGIONS = ("detected", "gold", "both")

SCENE, DETECTIONS, GOLD_CLASSES, CAPTION = range(4)
"""Streams of random numbers of one scene; the captions' numbers follow on the last."""

ANNOTATIONS = frozenset({"regions", "class_probs", "pixels", "phrases", "objects", "relations", "parse"})


class ScenesDataset(VLDataset):
    """Drawn scenes with captions; endless, without files, every annotation known by construction.

    Objects are listed in drawing order: of two that overlap the later is in front. What the caption states comes first
    among the relations, then one relation for each other pair that has any; with ``text=region_description`` the latter
    are no part of the annotation (`Relation.is_annotated`). The defaults stand in ``conf/dataset/scenes.yaml``.

    Args:
        split: train, val, test, or all (the three one after the other).
        root: must be None, as there are no files.
        level: the world, one of `LEVELS`.
        text: ``caption``, or ``region_description``: one relation and nothing else.
        regions: ``detected``, ``gold``, or ``both`` (gold first).
        seed: of the world, 0 or more.
        size: number of samples; None is the stated default of the split (`PARTS`).
        image_size: pixels a side.
        num_regions: most detected regions an image.
        feature_width: columns of the features.
        cache: how many images' regions are kept in memory.

    Raises:
        ValueError: naming the argument and what it can be.
    """

    name = "scenes"

    def __init__(
        self,
        split: str,
        root: None,
        level: str,
        text: str,
        regions: str,
        seed: int,
        size: int | None,
        image_size: int,
        num_regions: int,
        feature_width: int,
        cache: int,
    ) -> None:
        check_split(split, self.name)
        if root is not None:
            raise ValueError(f"dataset scenes is drawn and reads no files; got root={root}")
        _check_choice("level", level, tuple(LEVELS))
        _check_choice("text", text, TEXTS)
        _check_choice("regions", regions, REGIONS)
        _check_at_least("seed", seed, 0)
        _check_at_least("size", 1 if size is None else size, 1)
        _check_at_least("image_size", image_size, 32)
        _check_at_least("num_regions", num_regions, 1)
        self.split, self.seed, self.text, self.region_kind = split, seed, text, regions
        self.level: Level = LEVELS[level]
        self.image_size, self.num_regions = image_size, num_regions
        self.size = size if size is not None else PARTS.get(split, sum(PARTS.values()))
        self.annotations = ANNOTATIONS if regions == "detected" else ANNOTATIONS | {"gold"}
        self.featuriser = CropFeaturiser(feature_width)
        self.feature_width = feature_width
        self.class_names = self.level.class_names
        self.num_classes = 1 + len(self.class_names)
        self.fingerprint = self.featuriser.fingerprint
        self._cache: BoundedCache[Regions] = BoundedCache(cache)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        part, number, _ = self._locate(index)
        scene = self._scene(part, number)
        return self._sample(index, scene, self._regions(part, number, scene))

    def without_regions(self, index: int) -> Sample:
        """Return a sample without its regions."""
        part, number, _ = self._locate(index)
        return self._sample(index, self._scene(part, number), None)

    def _sample(self, index: int, scene: Scene, regions: Regions | None) -> Sample:
        related, description = self._describe(index, scene)
        sentence = description.sentence
        boxes = torch.from_numpy(gold_boxes(scene).astype(np.float32))
        objects = self._objects(scene, boxes)
        return Sample(
            image_id=self.image_id(index),
            caption=sentence.text,
            width=self.image_size,
            height=self.image_size,
            sample_id=f"{self.name}-{self.split}-{index}",
            regions=regions,
            phrases=self._phrases(scene, description, boxes),
            objects=objects,
            relations=self._relations(description, related, objects),
            parse=Parse(sentence.starts, sentence.ends, sentence.heads, sentence.labels, sentence.tags),
            read_image=partial(_draw, self.level.name, scene, self.image_size),
        )

    def caption(self, index: int) -> str:
        """Return a sample's caption without drawing its scene."""
        part, number, _ = self._locate(index)
        return self._describe(index, self._scene(part, number))[1].sentence.text

    def regions(self, index: int) -> Regions:
        """Return a sample's regions without describing its scene."""
        part, number, _ = self._locate(index)
        return self._regions(part, number)

    def image_id(self, index: int) -> str:
        """Return the name of the scene, which says what it is a function of."""
        part, number, _ = self._locate(index)
        return f"{self.level.name}-{self.seed}-{part}-{number}"

    def _locate(self, index: int) -> tuple[str, int, int]:
        """Return part, number of the scene in it, and number of the caption."""
        index = index + self.size if index < 0 else index
        if not 0 <= index < self.size:
            raise IndexError(f"dataset scenes has {self.size} samples in split {self.split}, no sample {index}")
        if self.split != "all":
            return self.split, *divmod(index, self.level.captions_per_image)
        for part, count in PARTS.items():
            if index < count or part == "test":
                return part, *divmod(index, self.level.captions_per_image)
            index -= count
        raise AssertionError("the last part takes every index")

    def _rng(self, part: str, number: int, stream: int) -> np.random.Generator:
        key = (self.seed, list(PARTS).index(part), number, stream)
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))

    def _scene(self, part: str, number: int) -> Scene:
        return imagine(self.level, self._rng(part, number, SCENE), self.image_size)

    def _describe(self, index: int, scene: Scene) -> tuple[Relations, Description]:
        part, number, caption = self._locate(index)
        templates = self.level.captions if self.text == "caption" else self.level.region_descriptions
        related = relate(scene, self.level)
        return related, describe(scene, self.level, templates, related, self._rng(part, number, CAPTION + caption))

    def _regions(self, part: str, number: int, scene: Scene | None = None) -> Regions:
        return self._cache.get(
            (part, number),
            lambda: self._detect(part, number, scene if scene is not None else self._scene(part, number)),
        )

    def _detect(self, part: str, number: int, scene: Scene) -> Regions:
        found: list[Detections] = []
        if self.region_kind != "detected":
            found.append(classify(gold_boxes(scene), scene, self.level, self._rng(part, number, GOLD_CLASSES)))
        num_gold = sum(len(gold.boxes) for gold in found)
        if self.region_kind != "gold":
            found.append(detect(scene, self.level, self.num_regions, self._rng(part, number, DETECTIONS)))
        boxes = np.concatenate([detections.boxes for detections in found])
        probs = torch.from_numpy(np.concatenate([detections.class_probs for detections in found]).astype(np.float32))
        confidence, class_ids = probs[:, 1:].max(1)
        is_gold = torch.arange(len(boxes)) < num_gold
        return Regions(
            boxes=torch.from_numpy(boxes.astype(np.float32)),
            features=self._features(scene, boxes),
            confidence=confidence.masked_fill(is_gold, 1.0),
            class_probs=probs,
            gold=is_gold,
            class_ids=class_ids,
        )

    def _features(self, scene: Scene, boxes: NDArray[np.float64]) -> Tensor:
        """Equal to the featuriser's answer for the pixels and boxes; only the pixels it reads are coloured in."""
        drawing = render(scene, self.level, self.image_size)
        rows, columns = sample_grid(boxes.astype(np.float32), self.image_size, self.image_size)
        return self.featuriser.from_samples(drawing.paints[drawing.paint_numbers[rows, columns]])

    def _objects(self, scene: Scene, boxes: Tensor) -> tuple[AnnotatedObject, ...]:
        colours = tuple(self.level.colours)
        return tuple(
            AnnotatedObject(str(at), (self.level.nouns[entity.noun].name,), box, (colours[entity.colour],))
            for at, (entity, box) in enumerate(zip(scene.entities, boxes.unbind(), strict=True))
        )

    def _phrases(self, scene: Scene, description: Description, boxes: Tensor) -> tuple[Phrase, ...]:
        sentence, phrases = description.sentence, []
        for slot, start, end in sentence.mentions:
            at = description.entities[slot]
            types = (self.level.nouns[scene.entities[at].noun].type,)
            phrases.append(Phrase(start, end, sentence.text[start:end], str(at), types, boxes[at : at + 1]))
        return tuple(phrases)

    def _relations(
        self, description: Description, related: Relations, objects: tuple[AnnotatedObject, ...]
    ) -> tuple[Relation, ...]:
        """Return what the caption states, then one relation for each other pair that has any."""
        stated = {frozenset(pair) for pair in description.stated}
        others = [pair for pair in combinations(range(len(objects)), 2) if frozenset(pair) not in stated]
        others = [(b, a) if (a + b) % 2 else (a, b) for a, b in others]  # so that neither direction is the rule
        return tuple(
            _relation(predicate.name, objects[a], objects[b], is_stated or self.text == "caption")
            for pairs, is_stated in ((description.stated, True), (others, False))
            for a, b in pairs
            if (predicate := related(a, b)) is not None
        )


def _relation(predicate: str, subject: AnnotatedObject, object_: AnnotatedObject, is_annotated: bool) -> Relation:
    return Relation(
        subject=subject.names[0],
        predicate=predicate,
        object=object_.names[0],
        subject_box=subject.box,
        object_box=object_.box,
        subject_id=subject.object_id,
        object_id=object_.object_id,
        is_annotated=is_annotated,
    )


def _draw(level: str, scene: Scene, image_size: int) -> Image:
    return render(scene, LEVELS[level], image_size).image()


def _check_choice(argument: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"dataset scenes has no {argument}={value}; there is {', '.join(choices)}")


def _check_at_least(argument: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"dataset scenes needs {argument} of at least {least}, got {value}")
