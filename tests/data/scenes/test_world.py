from itertools import combinations

import numpy as np

from vlp.data.scenes.geometry import cover
from vlp.data.scenes.levels import DEMO
from vlp.data.scenes.world import imagine

SCENES = [imagine(DEMO, np.random.default_rng(number), 224) for number in range(300)]


def covers(scene):
    return [cover(a, b) for a, b in combinations([entity.placement for entity in scene.entities], 2)]


def test_things_occlude_each_other_but_hide_little():
    worst = np.array([max(covers(scene)) for scene in SCENES])
    assert 0.3 < (worst > 0.05).mean() < 0.98
    assert (worst > DEMO.max_cover).mean() < 0.02


def test_numbers_nouns_and_colours_are_drawn_evenly():
    counts = np.bincount([len(scene.entities) for scene in SCENES])[3:]
    assert counts.min() > 0.2 * len(SCENES) - 15
    nouns = np.bincount([entity.noun for scene in SCENES for entity in scene.entities], minlength=8)
    colours = np.bincount([entity.colour for scene in SCENES for entity in scene.entities], minlength=6)
    np.testing.assert_allclose(nouns / nouns.sum(), 1 / 8, atol=0.03)
    np.testing.assert_allclose(colours / colours.sum(), 1 / 6, atol=0.03)


def test_boxes_lie_on_whole_pixels_inside_the_image_and_have_their_nouns_shape():
    for scene in SCENES:
        for entity in scene.entities:
            pixels = np.array(entity.placement[:4]) * 224
            np.testing.assert_allclose(pixels, pixels.round(), atol=1e-9)
            assert 0 <= pixels.min() <= pixels.max() <= 224
            x1, y1, x2, y2 = pixels
            aspect = DEMO.nouns[entity.noun].aspect
            assert abs((x2 - x1) - aspect * (y2 - y1)) <= 0.5 + 0.5 * aspect + 1e-6
