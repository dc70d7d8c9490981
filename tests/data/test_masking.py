from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold, cross_val_score

from tests.data.worlds import HandMade
from vlp.data.dataset import open_dataset
from vlp.data.groups import Texts
from vlp.data.masking import IGNORE, CellMasking, PairMismatch, PivotMasking, RegionMasking, TextMasking
from vlp.data.ordering import Place
from vlp.data.pairs import PretrainingPairs, _only
from vlp.data.pixels import PixelInput
from vlp.data.sample import Regions
from vlp.data.tokenisation import open_tokenizer


def examples(corruptions, size=3000, **options):
    pairs = PretrainingPairs(HandMade(size, **options), open_tokenizer(), corruptions)
    return [pairs.examples(Place(0, index))[0] for index in range(size)]


def test_words_are_masked_as_bert_masks_them():
    drawn = examples({"mlm": TextMasking(probability=0.5, at_least_one=False)})
    asked = torch.cat([e.text_labels != IGNORE for e in drawn])
    words = torch.cat([~e.tokens.special for e in drawn])
    assert not asked[~words].any()
    assert asked[words].float().mean() == pytest.approx(0.5, abs=0.015)
    before = torch.cat([e.tokens.input_ids for e in drawn])[asked]
    after = torch.cat([e.input_ids for e in drawn])[asked]
    assert (after == open_tokenizer().mask_id).float().mean() == pytest.approx(0.8, abs=0.015)
    assert (after == before).float().mean() == pytest.approx(0.1, abs=0.015)


def test_labels_are_the_words_that_stood_there_and_nothing_else_changes():
    for e in examples({"mlm": TextMasking(probability=0.4)}, size=50):
        asked = e.text_labels != IGNORE
        assert torch.equal(e.text_labels[asked], e.tokens.input_ids[asked])
        assert torch.equal(e.input_ids[~asked], e.tokens.input_ids[~asked])


def test_at_least_one_masks_the_first_piece_where_none_was_drawn():
    for e in examples({"mlm": TextMasking(probability=0.0)}, size=20):
        assert (e.text_labels != IGNORE).nonzero().squeeze(1).tolist() == [1]
    for e in examples({"mlm": TextMasking(probability=0.0, at_least_one=False)}, size=20):
        assert (e.text_labels == IGNORE).all()


def test_masks_tell_nothing_about_the_match():
    """What a classifier could read off the masks has one distribution for matched and mismatched pairs."""
    corruptions = {"itm": PairMismatch(), "mlm": TextMasking(probability=0.3), "mrc": RegionMasking(probability=0.3)}
    drawn = examples(corruptions, size=6000)
    mask_id = open_tokenizer().mask_id
    matched = np.array([e.is_matched for e in drawn])
    words = np.array([(e.input_ids == mask_id).float().mean().item() for e in drawn])
    regions = np.array([e.hidden_regions.float().mean().item() for e in drawn])
    assert matched.mean() == pytest.approx(0.5, abs=0.02)
    assert words[matched].mean() == pytest.approx(words[~matched].mean(), abs=0.01)
    assert regions[matched].mean() == pytest.approx(regions[~matched].mean(), abs=0.02)


def test_mismatched_pairs_are_masked_but_not_asked():
    corruptions = {"itm": PairMismatch(1.0), "mlm": TextMasking(probability=0.5), "mrc": RegionMasking(0.5)}
    for e in examples(corruptions, size=50):
        assert not e.is_matched
        assert (e.text_labels == IGNORE).all()
        assert not e.asked_regions.any()
        assert e.hidden_regions.any()
    both = TextMasking(probability=0.5, on_mismatched=True)
    assert any((e.text_labels != IGNORE).any() for e in examples({"itm": PairMismatch(1.0), "mlm": both}, size=5))


@pytest.mark.parametrize("replace", ["image", "text"])
def test_a_mismatch_replaces_one_half_by_that_of_another_sample(replace):
    for e in examples({"itm": PairMismatch(1.0, replace=replace)}, size=6):
        own = HandMade()[int(e.sample.sample_id.removeprefix("sample"))]
        own_ids = open_tokenizer().encode(own.caption).input_ids
        same_text = torch.equal(e.input_ids, own_ids)
        same_image = torch.equal(e.regions.features, own.regions.features)
        assert (same_text, same_image) == ((True, False) if replace == "image" else (False, True))


def test_data_that_say_what_matches_are_left_alone():
    drawn = examples({"itm": PairMismatch(1.0)}, size=6, truth_annotated=True)
    assert [e.is_matched for e in drawn] == [True, False, True, False, True, False]
    assert [e.regions.features[0, 0].item() for e in drawn] == [0, 1, 2, 3, 4, 5]


def test_regions_are_hidden_as_uniter_hides_them():
    drawn = examples({"mrc": RegionMasking(probability=0.15)})
    assert all(torch.equal(e.hidden_regions, e.asked_regions) for e in drawn)
    assert all(e.hidden_regions.any() for e in drawn)
    forced = examples({"mrc": RegionMasking(probability=0.0)}, size=30)
    assert {int(e.hidden_regions.sum()) for e in forced} == {1}


def test_volta_leaves_a_tenth_of_the_asked_regions_visible():
    drawn = examples({"mrc": RegionMasking(probability=0.5, hidden_share=0.9, at_least_one=False)})
    asked = torch.cat([e.asked_regions for e in drawn])
    hidden = torch.cat([e.hidden_regions for e in drawn])
    assert not (hidden & ~asked).any()
    assert (hidden.sum() / asked.sum()).item() == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TextMasking(probability=1.5), "probability=1.5: expected a share in [0, 1]"),
        (
            lambda: TextMasking(mask_share=0.8, random_share=0.3),
            "mask_share=0.8 and random_share=0.3 sum to more than 1",
        ),
        (lambda: PairMismatch(replace="both"), "replace='both': expected 'image' or 'text'"),
    ],
)
def test_impossible_shares_are_refused(build, message):
    with pytest.raises(ValueError) as error:
        build()
    assert str(error.value) == message


def test_one_image_alone_has_no_mismatch():
    with pytest.raises(ValueError) as error:
        examples({"itm": PairMismatch(1.0)}, size=1)
    assert str(error.value) == "hand_made split=train: no other image than 'image0'"


def test_an_image_without_regions_cannot_be_masked():
    data = HandMade(1)
    sample = replace(data[0], regions=Regions(torch.zeros(0, 4), torch.zeros(0, 4)))
    data.__class__ = type("Empty", (HandMade,), {"__getitem__": lambda self, index: sample})
    with pytest.raises(ValueError) as error:
        PretrainingPairs(data, open_tokenizer(), {"mrc": RegionMasking()}).examples(Place(0, 0))
    assert str(error.value) == "sample 'sample0' has no regions, which masked region modelling needs"


def test_pivots_are_drawn_evenly_for_a_share_of_the_images():
    drawn = [e.pivot for e in examples({"mvm": PivotMasking(0.25)})]
    pivots = np.array([pivot for pivot in drawn if not np.isnan(pivot)])
    assert len(pivots) / len(drawn) == pytest.approx(0.25, abs=0.03)
    assert np.quantile(pivots, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=0.05)
    assert pivots.max() < 1


def test_a_batch_has_pivots_where_an_image_has_one():
    def pivots(probability):
        corruptions = {"mvm": PivotMasking(probability)}
        pairs = PretrainingPairs(HandMade(6), open_tokenizer(), corruptions)
        return pairs[[Place(0, index) for index in range(6)]].inputs.pivots

    assert pivots(0.0) is None
    assert not pivots(1.0).isnan().any()
    assert 0 < pivots(0.5).isnan().sum() < 6


def cell_masked(masking, size=6, epoch=0, texts=None, **options):
    pixel_input = PixelInput(32, None, 4)
    corruptions = {"itm": PairMismatch(), "mfr": CellMasking(masking, **options)}
    pairs = PretrainingPairs(HandMade(size), open_tokenizer(), corruptions, pixel_input=pixel_input, texts=texts)
    return pairs[[Place(epoch, index) for index in range(size)]]


def test_random_cells_are_so_many_and_all_as_likely():
    hidden = torch.cat([cell_masked("random", 60, epoch).inputs.masked_regions for epoch in range(20)])
    assert hidden.shape == (1200, 64)
    assert (hidden.sum(1) == 7).all()
    share = hidden.double().mean(0)
    assert share.mean().item() == pytest.approx(7 / 64)
    assert (share - 7 / 64).abs().max() < 4.5 * (7 / 64 * 57 / 64 / 1200) ** 0.5


def test_parsed_cells_are_left_to_the_model_which_is_told_pivot_and_number():
    batch = cell_masked("parsed")
    assert batch.inputs.masked_regions is None
    assert batch.inputs.num_hidden == 7
    assert ((batch.inputs.pivots >= 0) & (batch.inputs.pivots < 1)).all()
    assert len(batch.inputs.pivots.unique()) == 6
    assert cell_masked("parsed", k=None, ratio=0.25).inputs.num_hidden == 16


def test_cells_of_images_of_several_sizes_have_to_be_as_many():
    assert _only({3}) == 3
    with pytest.raises(ValueError) as error:
        _only({3, 5})
    assert str(error.value) == "images of a batch have 3, 5 cells hidden: a ratio needs images of one size"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masking": "none"}, "masking='none': expected 'parsed' or 'random'; for none leave mfr out"),
        ({"ratio": 0.5}, "k=7 and ratio=0.5: expected one of the two"),
        ({"k": None}, "k=None and ratio=None: expected one of the two"),
        ({"k": 0}, "k=0: expected at least 1"),
        ({"k": None, "ratio": 1.0}, "ratio=1.0: expected a share in (0, 1)"),
    ],
)
def test_numbers_of_cells_that_are_none_are_refused(options, message):
    with pytest.raises(ValueError) as error:
        CellMasking(**options)
    assert str(error.value) == message


def test_hiding_every_cell_is_refused():
    with pytest.raises(ValueError) as error:
        cell_masked("random", k=64)
    assert str(error.value) == "k=64: the image has 64 cells, and one at least has to be seen"


def test_cells_of_a_model_without_pixels_are_refused():
    with pytest.raises(ValueError) as error:
        examples({"mfr": CellMasking()})
    assert str(error.value) == "cells are hidden of images, and the model reads no pixels"


def test_masks_do_not_tell_whether_a_pair_matches():
    """A forest on everything that is hidden finds nothing; on what is asked, which is of matched pairs, everything."""
    corruptions = {
        "itm": PairMismatch(),
        "mlm": TextMasking(0.15, at_least_one=False, in_phrases=0.4),
        "mfr": CellMasking("random", k=5),
    }
    pairs = PretrainingPairs(
        open_dataset("scenes", split="val", size=400),
        open_tokenizer(),
        corruptions,
        pixel_input=PixelInput(96, None, 16),
        texts=Texts(),
    )
    rows = [pairs.examples(Place(0, index)) for index in range(400)]
    label = np.array([e.is_matched for row in rows for e in row])
    masks = [(e.input_ids == pairs.tokenizer.mask_id, e.input_ids != e.tokens.input_ids) for row in rows for e in row]
    cells = torch.stack([e.hidden_regions for row in rows for e in row]).numpy()
    words = np.stack([np.r_[_padded(mask), _padded(changed), mask.sum(), changed.sum()] for mask, changed in masks])
    asked = np.stack([_padded(e.text_labels != IGNORE) for row in rows for e in row])
    image = np.repeat(np.arange(400), 4)

    def accuracy(features):
        forest = RandomForestClassifier(60, random_state=0)
        return cross_val_score(forest, features, label, groups=image, cv=GroupKFold(4)).mean()

    assert label.mean() == 0.5
    assert accuracy(np.hstack([words, cells])) == pytest.approx(0.5, abs=3 * (0.25 / 1600) ** 0.5)
    assert accuracy(asked) > 0.9


def _padded(mask: torch.Tensor) -> np.ndarray:
    return np.pad(mask.numpy(), (0, 40 - len(mask)))
