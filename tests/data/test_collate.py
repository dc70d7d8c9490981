import pytest
import torch

from tests.data.worlds import CAPTIONS, HandMade
from vlp.data.collate import collate_probe
from vlp.data.sample import Sample
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
