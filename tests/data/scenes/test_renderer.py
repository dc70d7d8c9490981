from dataclasses import replace

import numpy as np
import pytest

from vlp.data.scenes.levels import DEMO, Noun, Part
from vlp.data.scenes.renderer import render
from vlp.data.scenes.world import imagine

SIZE = 224
SCENES = [imagine(DEMO, np.random.default_rng(number), SIZE) for number in range(60)]


def test_a_box_is_exactly_the_ink_of_its_entity():
    for scene in SCENES:
        without = replace(scene, entities=scene.entities[:-1])
        changed = (render(scene, DEMO, SIZE).pixels() != render(without, DEMO, SIZE).pixels()).any(2)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        ink = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        box = np.array(scene.entities[-1].placement[:4]) * SIZE
        np.testing.assert_allclose(ink, box, atol=1)


def test_what_comes_later_covers_what_comes_earlier():
    for scene in SCENES:
        top = scene.entities[-1]
        alone = replace(scene, entities=(top,))
        bare = replace(scene, entities=())
        ink = (render(alone, DEMO, SIZE).pixels() != render(bare, DEMO, SIZE).pixels()).any(2)
        np.testing.assert_array_equal(render(scene, DEMO, SIZE).pixels()[ink], render(alone, DEMO, SIZE).pixels()[ink])


def test_a_mirrored_entity_is_the_mirror_image_in_its_box():
    scene = SCENES[0]
    pair = []
    for is_mirrored in (False, True):
        entity = replace(scene.entities[0], is_mirrored=is_mirrored)
        plain = replace(scene, entities=(entity,), backdrop=tuple([0.5] * len(scene.backdrop)))
        x1, y1, x2, y2 = (round(value * SIZE) for value in entity.placement[:4])
        pair.append(render(plain, DEMO, SIZE).pixels()[y1:y2, x1:x2])
    assert (pair[0] == pair[1][:, ::-1]).all(2).mean() > 0.9


def test_the_image_is_the_pixels():
    drawing = render(SCENES[0], DEMO, SIZE)
    np.testing.assert_array_equal(np.asarray(drawing.image()), drawing.pixels())


def test_an_unknown_form_is_named():
    star = Noun("ball", "other", 1.0, (Part("star", ((0.0, 0.0), (1.0, 1.0))),))
    level = replace(DEMO, nouns=(star,) * len(DEMO.nouns))
    with pytest.raises(ValueError) as error:
        render(SCENES[0], level, SIZE)
    assert str(error.value) == "a part has form 'star'; it must be polygon, ellipse or rectangle"
