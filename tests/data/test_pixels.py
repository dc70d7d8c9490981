import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.vilt.image_processing_pil_vilt import get_resize_output_image_size

from tests.data.worlds import HandMade
from vlp.data.collate import collate_probe
from vlp.data.pixels import HALF, IMAGENET_MEAN, IMAGENET_STD, PixelInput
from vlp.data.sample import Sample
from vlp.data.tokenisation import open_tokenizer

VILT = PixelInput(384, 639, 32, HALF, HALF)


def sample_of(image: Image.Image, name="x") -> Sample:
    return Sample(name, "a dog", *image.size, f"sample {name}", read_image=lambda: image)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 480), (512, 384)),  # 480 -> 384
        ((1000, 300), (608, 192)),  # 300 -> 384 makes 1280, so 639 x 191.7, rounded 192
        ((300, 300), (384, 384)),
        ((50, 3000), (32, 608)),  # 10.65 pixels wide: one patch
    ],
)
def test_sides_keep_their_proportions_and_are_cut_to_whole_patches(size, expected):
    assert VILT.resized(*size) == expected


def test_the_rule_is_the_released_one():
    generator = np.random.default_rng(0)
    for width, height in generator.integers(100, 1500, size=(300, 2)).tolist():
        if max(width, height) > 5 * min(width, height):
            continue
        theirs = get_resize_output_image_size(np.zeros((height, width, 3)), 384, 639, 32, "channels_last")
        assert VILT.resized(width, height) == (theirs[1], theirs[0])


def test_a_square_input_is_square_whatever_the_image_was():
    assert PixelInput(100, None, 16).resized(640, 480) == (96, 96)


def test_pixels_are_normalised_by_channel():
    image = Image.new("RGB", (40, 40), (255, 0, 51))
    expected = [(value - mean) / std for value, mean, std in zip((1.0, 0.0, 0.2), IMAGENET_MEAN, IMAGENET_STD)]
    pixels = PixelInput(32, None, 16).read(sample_of(image))
    assert pixels.shape == (3, 32, 32)
    torch.testing.assert_close(pixels, torch.tensor(expected)[:, None, None].expand(3, 32, 32))
    assert PixelInput(32, None, 16, HALF, HALF).read(sample_of(image))[:, 0, 0].tolist() == pytest.approx([1, -1, -0.6])


def test_left_stays_left_and_nothing_is_cut_off():
    image = Image.new("RGB", (64, 32), "black")
    image.paste("white", (0, 0, 32, 32))
    pixels = PixelInput(16, None, 8, (0, 0, 0), (1, 1, 1)).read(sample_of(image))
    assert (pixels[:, :, :6] > 0.9).all()
    assert (pixels[:, :, -6:] < 0.1).all()


def test_a_batch_is_padded_with_zeros_at_the_right_and_below():
    samples = [sample_of(Image.new("RGB", size, "white"), str(size)) for size in ((64, 32), (32, 64))]
    pixels, mask = PixelInput(32, 64, 16, HALF, HALF).collate(samples)
    assert pixels.shape == (2, 3, 64, 64)
    assert mask.sum((1, 2)).tolist() == [64 * 32] * 2
    assert mask[0, :32].all()
    assert mask[1, :, :32].all()
    assert torch.equal(pixels, mask[:, None].expand_as(pixels).float())  # white is 1


def test_an_image_without_pixels_is_named():
    with pytest.raises(ValueError) as error:
        VILT.read(Sample("x", "a dog", 10, 10, "number 7"))
    assert str(error.value) == "image 'x' (sample 'number 7') has no pixels, the model reads them"


def test_a_batch_of_pixels_has_no_regions():
    inputs = collate_probe(list(HandMade()), open_tokenizer(), None, PixelInput(16, 32, 8, HALF, HALF)).inputs
    assert inputs.pixels.shape == (6, 3, 16, 32)
    assert inputs.pixel_mask.all()
    assert inputs.image_sizes.tolist() == [[100, 50]] * 6
    assert inputs.features is inputs.boxes is inputs.region_mask is None
    expected = torch.tensor([40.0, 80.0, 245.0]) / 255 * 2 - 1
    torch.testing.assert_close(inputs.pixels[1, :, 3, 4], expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((16, None, 32), "shortest=16: expected at least multiple=32, and that at least 1"),
        ((64, 48, 16), "longest=48: expected at least shortest=64"),
    ],
)
def test_impossible_sides_are_refused(arguments, message):
    with pytest.raises(ValueError) as error:
        PixelInput(*arguments)
    assert str(error.value) == message
