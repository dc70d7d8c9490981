import pytest
import torch

from tests.data.worlds import CAPTIONS, HandMade
from vlp.data.collate import collate_probe
from vlp.data.sample import Regions, Sample
from vlp.data.tokenisation import open_tokenizer


def test_a_probe_batch_holds_the_samples_and_what_the_model_reads_of_them():
    dataset = HandMade()
    batch = collate_probe(list(dataset), open_tokenizer(), None)
    assert [s.caption for s in batch.samples] == list(CAPTIONS)
    lengths = [len(open_tokenizer().encode(c)) for c in CAPTIONS]
    assert batch.inputs.text_mask.sum(1).tolist() == lengths
    assert batch.content.sum(1).tolist() == [length - 2 for length in lengths]
    assert not batch.content[:, 0].any()
    assert batch.inputs.region_mask.sum(1).tolist() == [1, 2, 3, 1, 2, 3]
    assert batch.inputs.features[4, :2].tolist() == [[4.0] * 4] * 2
    assert batch.inputs.image_sizes.tolist() == [[100, 50]] * 6


def test_a_batch_in_which_one_sample_has_no_regions_has_no_image_side():
    samples = [HandMade()[0], Sample("x", "a dog", 10, 10)]
    inputs = collate_probe(samples, open_tokenizer(), None).inputs
    assert inputs.features is None
    assert inputs.boxes is None


def test_a_caption_that_does_not_fit_is_named_by_its_sample():
    with pytest.raises(ValueError) as error:
        collate_probe([HandMade()[1]], open_tokenizer(), max_pieces=5)
    assert (
        str(error.value) == "caption of sample sample1 has 6 word pieces and 2 special tokens; at most 5 fit the model"
    )


def test_moving_a_probe_batch_leaves_the_samples_where_they_are():
    moved = collate_probe([HandMade()[0]], open_tokenizer(), None).to("meta")
    assert moved.inputs.input_ids.device.type == moved.content.device.type == "meta"
    assert moved.samples[0].regions.features.device == torch.device("cpu")


def test_a_feature_that_is_not_finite_is_refused_by_the_name_of_its_image():
    sample = HandMade()[2]
    sample.regions.features[1, 3] = float("nan")
    with pytest.raises(ValueError) as error:
        collate_probe([HandMade()[0], sample], open_tokenizer(), None)
    assert str(error.value) == "a feature of image 'image2' (sample 'sample2') is not finite"


BOX = "box 1 of image 'image2' (sample 'sample2') is"
EXPECTED = "expected x1 < x2 and y1 < y2 in [0, 1]"


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((10, 20, 90, 45), f"{BOX} (10, 20, 90, 45), {EXPECTED}; these look like pixels: divide by 100 and 50"),
        ((0.5, 0.1, 0.4, 0.9), f"{BOX} (0.5, 0.1, 0.4, 0.9), {EXPECTED}; it is inverted, or its last two numbers"),
        ((0.2, 0.2, 0.2, 0.4), f"{BOX} (0.2, 0.2, 0.2, 0.4), {EXPECTED}"),
        ((-0.01, 0.2, 0.3, 0.4), f"{BOX} (-0.01, 0.2, 0.3, 0.4), {EXPECTED}"),
        ((0.1, 0.2, float("nan"), 0.4), f"{BOX} (0.1, 0.2, nan, 0.4), {EXPECTED}"),
        ((0.1, 0.2, float("inf"), 0.4), f"{BOX} (0.1, 0.2, inf, 0.4), {EXPECTED}"),
    ],
)
def test_a_box_that_is_none_is_refused_by_the_name_of_its_image(box, message):
    sample = HandMade()[2]
    sample.regions.boxes[1] = torch.tensor(box)
    with pytest.raises(ValueError) as error:
        collate_probe([HandMade()[0], sample], open_tokenizer(), None)
    assert str(error.value).startswith(message)


def test_what_rounding_puts_outside_is_put_back():
    sample = HandMade()[0]
    sample.regions.boxes[0] = torch.tensor([-1e-4, 0, 1 + 5e-4, 1])
    assert collate_probe([sample], open_tokenizer(), None).inputs.boxes[0, 0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        (Regions(torch.zeros(0, 4), torch.zeros(0, 4)), "has no region, expected one or more"),
        (
            Regions(torch.zeros(2, 5), torch.zeros(2, 4)),
            "has boxes (2, 5) and features (2, 4), expected (R, 4) and (R, 4)",
        ),
        (
            Regions(torch.zeros(2, 4), torch.zeros(3, 4)),
            "has boxes (2, 4) and features (3, 4), expected (R, 4) and (R, 4)",
        ),
        (
            Regions(torch.zeros(2, 4), torch.zeros(2, 7)),
            "has boxes (2, 4) and features (2, 7), expected (R, 4) and (R, 4)",
        ),
        (
            Regions(torch.zeros(2, 4), torch.zeros(2, 4), class_probs=torch.zeros(3, 4)),
            "has 3 class distributions for 2 regions",
        ),
    ],
)
def test_regions_of_a_wrong_shape_are_refused_by_the_name_of_their_image(regions, message):
    with pytest.raises(ValueError) as error:
        collate_probe([HandMade()[0], Sample("x", "a dog", 10, 10, "y", regions)], open_tokenizer(), None)
    assert str(error.value) == f"image 'x' (sample 'y') {message}"
