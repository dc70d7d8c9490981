import numpy as np
import pytest
import torch

from vlp.data.featuriser import GRID, CropFeaturiser, sample_grid


def random_image(height: int = 60, width: int = 90) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


BOXES = np.array([[0.0, 0.0, 0.5, 0.5], [0.25, 0.5, 1.0, 1.0], [0.1, 0.1, 0.1, 0.1]])


def test_features_are_non_negative_finite_and_partly_zero():
    features = CropFeaturiser(48)(random_image(), BOXES)
    assert features.shape == (3, 48)
    assert features.dtype == torch.float32
    assert bool((features >= 0).all())
    assert 0.1 < float((features == 0).float().mean()) < 0.9
    assert bool(features.isfinite().all())


def test_pixels_outside_a_box_do_not_matter():
    image, other = random_image(), random_image()
    other[30:, :] = 7
    other[:, 45:] = 9
    first, second = CropFeaturiser(64)(image, BOXES), CropFeaturiser(64)(other, BOXES)
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])


def test_regions_do_not_influence_each_other():
    featuriser, image = CropFeaturiser(64), random_image()
    alone = torch.cat([featuriser(image, box[None]) for box in BOXES])
    torch.testing.assert_close(featuriser(image, BOXES), alone, rtol=0, atol=1e-6)


def test_two_instances_agree_and_another_width_is_another_extractor():
    image = random_image()
    assert torch.equal(CropFeaturiser(64)(image, BOXES), CropFeaturiser(64)(image, BOXES))
    assert CropFeaturiser(32).fingerprint != CropFeaturiser(64).fingerprint


def test_grid_reads_the_centres_of_equal_cells():
    rows, columns = sample_grid(np.array([[0.0, 0.5, 1.0, 1.0]]), height=2 * GRID, width=GRID)
    assert columns[0, 0].tolist() == list(range(GRID))
    assert rows[0, :, 0].tolist() == list(range(GRID, 2 * GRID))


def test_grid_stays_inside_the_image():
    rows, columns = sample_grid(np.array([[-1.0, 0.9, 2.0, 1.5]]), height=10, width=20)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (9, 9, 0, 19)


def test_refuses_a_width_too_small_to_carry_shape_and_colour():
    with pytest.raises(ValueError) as error:
        CropFeaturiser(8)
    assert str(error.value) == "feature_width must be at least 16, got 8"
