"""What a detector would propose: jittered boxes, duplicates, distractors, noisy class distributions, confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlp.data.scenes.levels import Level
from vlp.data.scenes.world import Scene

JITTER = 0.05
"""Standard deviation of each side of a proposal, as a fraction of the box's width or height."""

DUPLICATE_SHARE = 0.4
"""Share of duplicates among the proposals beyond one an entity; the others are distractors."""

NOUN_EVIDENCE, COLOUR_EVIDENCE, EVIDENCE_NOISE = 3.0, 2.5, 0.7
"""Logits of a class for sharing the noun, or the colour, of what is in the box, and the noise (s.d.) on every logit."""

BACKGROUND_LOGIT = 2.0
"""Background's logit at an overlap (IoU) of one half; falls with overlap."""

Boxes = NDArray[np.float64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Detections:
    """Proposals: boxes (R, 4) and class distributions (R, C), background first."""

    boxes: Boxes
    class_probs: Floats

    @property
    def confidence(self) -> Floats:
        """Probability of the likeliest class that is not background, (R,)."""
        best: Floats = self.class_probs[:, 1:].max(1)
        return best

    def by_confidence(self) -> Detections:
        """Return the proposals, the surest first."""
        order = np.argsort(-self.confidence, kind="stable")
        return Detections(self.boxes[order], self.class_probs[order])


def gold_boxes(scene: Scene) -> Boxes:
    """Return the boxes (N, 4) of a scene's entities, in drawing order."""
    return np.array([entity.placement[:4] for entity in scene.entities])


def detect(scene: Scene, level: Level, num_regions: int, rng: np.random.Generator) -> Detections:
    """Return up to ``num_regions`` proposals for a scene, the surest first: every entity's once, then others.

    Nothing here knows of the caption.
    """
    gold = gold_boxes(scene)
    count = int(rng.integers(min(len(gold), num_regions), num_regions + 1))
    boxes = _propose(gold, count, rng)
    return classify(boxes, scene, level, rng).by_confidence()


def classify(boxes: Boxes, scene: Scene, level: Level, rng: np.random.Generator) -> Detections:
    """Return ``boxes`` with the class distributions of a noisy classifier: the better a box fits, the surer."""
    overlap_RN = _overlaps(boxes, gold_boxes(scene))
    best = overlap_RN.argmax(1)
    overlap = overlap_RN[np.arange(len(boxes)), best]
    logits = rng.normal(0, EVIDENCE_NOISE, (len(boxes), 1 + len(level.class_names)))
    logits[:, 1:] += _evidence(scene, level)[best] * overlap[:, None]
    logits[:, 0] += BACKGROUND_LOGIT + 6 * (0.5 - overlap)
    probs = np.exp(logits - logits.max(1, keepdims=True))
    return Detections(boxes, probs / probs.sum(1, keepdims=True))


def _propose(gold: Boxes, count: int, rng: np.random.Generator) -> Boxes:
    """Jitter one proposal an entity, and fill up with duplicates and boxes of the background's sizes."""
    extra = max(0, count - len(gold))
    sources = np.concatenate([np.arange(len(gold))[:count], rng.integers(0, len(gold), extra)])
    boxes = gold[sources]
    sides = boxes[:, 2:] - boxes[:, :2]
    boxes = boxes + np.concatenate([sides, sides], axis=1) * rng.normal(0, JITTER, boxes.shape)
    size = 0.12 + 0.28 * rng.random((extra, 2))
    corner = rng.random((extra, 2)) * (1 - size)
    is_distractor = rng.random(extra) >= DUPLICATE_SHARE
    distractors = np.concatenate([corner, corner + size], axis=1)
    boxes[count - extra :][is_distractor] = distractors[is_distractor]
    return np.minimum(np.maximum(boxes, 0), 1)


def _evidence(scene: Scene, level: Level) -> NDArray[np.floating[Any]]:
    """Return what each entity says for each class, (N, nouns * colours)."""
    nouns = np.array([entity.noun for entity in scene.entities])[:, None]
    colours = np.array([entity.colour for entity in scene.entities])[:, None]
    noun_score = NOUN_EVIDENCE * (nouns == np.arange(len(level.nouns)))
    colour_score = COLOUR_EVIDENCE * (colours == np.arange(len(level.colours)))
    evidence: Floats = noun_score[:, :, None] + colour_score[:, None, :]
    return evidence.reshape(len(nouns), -1)


def _overlaps(boxes: Boxes, others: Boxes) -> Floats:
    """Return intersection over union (R, N)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(-1)
    union = _areas(boxes)[:, None] + _areas(others) - shared
    result: Floats = shared / np.maximum(union, 1e-9)
    return result


def _areas(boxes: Boxes) -> Floats:
    areas: Floats = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return areas
