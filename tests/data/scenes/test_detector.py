import numpy as np
import pytest

from vlp.data.scenes.detector import Detections, classify, detect, gold_boxes
from vlp.data.scenes.levels import DEMO
from vlp.data.scenes.world import imagine


def scenes(count: int):
    for number in range(count):
        rng = np.random.default_rng(number)
        yield imagine(DEMO, rng, 224), rng


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union, worked out one pair at a time."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared)


def test_every_entity_is_proposed_and_proposals_stay_in_the_image():
    for scene, rng in scenes(40):
        found = detect(scene, DEMO, 8, rng)
        assert len(scene.entities) <= len(found.boxes) <= 8
        assert found.boxes.min() >= 0
        assert found.boxes.max() <= 1
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
        for box in gold_boxes(scene):
            assert max(overlap(box, proposal) for proposal in found.boxes) > 0.5


def test_there_are_duplicates_and_distractors():
    most = [
        [max(overlap(p, box) for box in gold_boxes(s)) for p in detect(s, DEMO, 10, r).boxes] for s, r in scenes(60)
    ]
    surplus = [sum(value > 0.5 for value in row) - len(scene.entities) for row, (scene, _) in zip(most, scenes(60))]
    assert sum(count > 0 for count in surplus) > 10
    assert sum(min(row) < 0.1 for row in most) > 20


def test_distributions_sum_to_one_and_come_surest_first():
    for scene, rng in scenes(20):
        found = detect(scene, DEMO, 8, rng)
        np.testing.assert_allclose(found.class_probs.sum(1), 1, rtol=1e-12)
        assert found.class_probs.shape[1] == 49
        assert (np.diff(found.confidence) <= 0).all()


def test_classes_are_mostly_right_on_gold_boxes_and_background_off_them():
    right, background = [], []
    for scene, rng in scenes(100):
        gold = classify(gold_boxes(scene), scene, DEMO, rng)
        truth = [1 + 6 * entity.noun + entity.colour for entity in scene.entities]
        right += (gold.class_probs.argmax(1) == truth).tolist()
        corner = np.array([[0.0, 0.0, 0.02, 0.02]])
        background += (classify(corner, scene, DEMO, rng).class_probs.argmax(1) == 0).tolist()
    assert 0.9 < np.mean(right) <= 1
    assert np.mean(background) > 0.95


def test_by_confidence_reads_foreground_only():
    found = Detections(np.zeros((2, 4)), np.array([[0.9, 0.06, 0.04], [0.4, 0.1, 0.5]]))
    assert found.confidence.tolist() == [0.06, 0.5]
    assert found.by_confidence().confidence.tolist() == [0.5, 0.06]


@pytest.mark.parametrize("num_regions", [1, 2, 36])
def test_any_number_of_regions_may_be_asked_for(num_regions):
    for scene, rng in scenes(10):
        assert 1 <= len(detect(scene, DEMO, num_regions, rng).boxes) <= num_regions
