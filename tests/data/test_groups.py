import re

import pytest
import torch

from tests.data.worlds import CAPTIONS, HandMade
from vlp.data.groups import Texts, matched_groups
from vlp.data.loading import PretrainingData
from vlp.data.masking import IGNORE, CellMasking, PairMismatch, TextMasking
from vlp.data.ordering import Place, TrainingOrder
from vlp.data.pairs import PretrainingPairs
from vlp.data.pixels import PixelInput
from vlp.data.sample import Sample
from vlp.data.tokenisation import open_tokenizer

CORRUPTIONS = {"itm": PairMismatch(1.0), "mlm": TextMasking(0.3), "mfr": CellMasking("random", k=5)}
PIXELS = PixelInput(16, None, 4)


class Told(HandMade):
    """Captions 0, 1 and 2 are of one image, 3 and 4 of another, the rest of one each."""

    def image_id(self, index: int) -> str:
        return f"image{(0, 0, 0, 3, 3)[index] if index < 5 else index}"

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        return Sample(**{**vars(sample), "image_id": self.image_id(index)})


def grouped(dataset, seed=0, corruptions=CORRUPTIONS, pixel_input=PIXELS, **texts):
    return PretrainingPairs(dataset, open_tokenizer(), corruptions, seed, pixel_input=pixel_input, texts=Texts(**texts))


def places(pairs, epoch=0):
    return [Place(epoch, index) for index in range(len(pairs))]


def test_an_image_s_captions_are_cut_into_groups_and_its_first_ones_fill_the_last():
    assert matched_groups(Told(7), 2).tolist() == [[0, 1], [2, 0], [3, 4], [5, 5], [6, 6]]
    assert matched_groups(Told(7), 3).tolist() == [[0, 1, 2], [3, 4, 3], [5, 5, 5], [6, 6, 6]]


def test_captions_of_an_image_need_not_stand_together_and_no_true_caption_is_no_group():
    dataset = Told(7)
    dataset.images = lambda: torch.tensor([5, -1, 2, 5, 2, 5, -1]).numpy()
    assert matched_groups(dataset, 2).tolist() == [[0, 3], [5, 0], [2, 4]]
    dataset.images = lambda: torch.full((7,), -1).numpy()
    assert matched_groups(dataset, 2).shape == (0, 2)


def test_captions_are_cut_where_that_is_asked_and_keep_their_last_token():
    short, whole = grouped(Told(6), longest=5), grouped(Told(6))
    for place in places(whole):
        for cut, example in zip(short.examples(place), whole.examples(place), strict=True):
            first, last = example.tokens.input_ids[:-1].tolist()[:4], example.tokens.input_ids.tolist()[-1]
            assert cut.tokens.input_ids.tolist() == [*first, last]
            assert cut.tokens.word_ids.tolist() == [*example.tokens.word_ids[:-1].tolist()[:4], -1]
            assert cut.tokens.special.tolist() == [True, *[False] * (len(first) - 1), True]
    assert short[places(short)[:2]].inputs.input_ids.shape == (8, 5)


def test_a_caption_that_is_cut_is_never_longer_than_the_model_takes():
    pairs = PretrainingPairs(Told(6), open_tokenizer(), {}, max_pieces=4, texts=Texts(longest=5))
    assert {len(e.tokens) for place in places(pairs) for e in pairs.examples(place)} == {4}


def test_a_caption_of_fewer_than_three_pieces_says_nothing():
    with pytest.raises(ValueError) as caught:
        Texts(longest=2)
    assert str(caught.value) == "longest=2: expected 3 word pieces or more, of which two are [CLS] and [SEP]"


def test_captions_that_the_data_call_false_are_in_no_group():
    assert matched_groups(HandMade(6, truth_annotated=True), 2).tolist() == [[0, 0], [2, 2], [4, 4]]


def test_an_image_has_exactly_two_captions_of_its_own_and_two_of_others():
    pairs = grouped(Told(6))
    own = set(CAPTIONS[:3])  # of the first image
    for epoch in range(20):
        for place in places(pairs, epoch):
            group = pairs.examples(place)
            assert [e.is_matched for e in group] == [True, True, False, False]
            assert {e.sample.image_id for e in group} == {group[0].sample.image_id}
            if group[0].sample.image_id == "image0":
                assert {e.sample.caption for e in group[:2]} <= own
                assert not {e.sample.caption for e in group[2:]} & own


def test_a_caption_of_another_set_is_never_one_of_the_image_s_own_set():
    data = HandMade(6, truth_annotated=True)
    data.image_key = lambda index: str(index // 2)  # captions 2k and 2k + 1 are of one set
    pairs = grouped(data)
    for epoch in range(30):
        for place in places(pairs, epoch):
            own, others = int(pairs.groups[place.index][0]), pairs.examples(place)[2:]
            assert not {e.sample.caption for e in others} & {data.caption(own), data.caption(own + 1)}


def test_every_caption_of_another_image_is_as_likely():
    pairs, counts = grouped(Told(7), corruptions={}), {}
    for epoch in range(600):
        for example in pairs.examples(Place(epoch, 2))[2:]:  # of the image of captions 3 and 4
            counts[example.sample.caption] = counts.get(example.sample.caption, 0) + 1
    captions = [Told(7).caption(index) for index in (0, 1, 2, 5, 6)]  # the first and the last are the same words
    expected = {caption: captions.count(caption) * 240 for caption in captions}
    assert counts == {caption: pytest.approx(count, abs=4.5 * count**0.5) for caption, count in expected.items()}


def test_a_caption_that_is_repeated_has_masks_of_its_own():
    pairs = grouped(HandMade(6))
    same = 0
    for epoch in range(10):
        for place in places(pairs, epoch):
            first, second = pairs.examples(place)[:2]
            assert torch.equal(first.tokens.input_ids, second.tokens.input_ids)
            same += torch.equal(first.hidden_regions, second.hidden_regions)
    assert same < 6  # of 60, where one of 4,368 is as likely as another


def test_a_batch_has_an_image_once_and_says_whose_it_is():
    pairs = grouped(HandMade(6))
    batch = pairs[places(pairs)]
    assert len(batch) == 24
    assert batch.inputs.pixels.shape == (6, 3, 16, 16)
    assert batch.inputs.pixel_mask.shape == (6, 16, 16)
    assert batch.inputs.image_sizes.shape == (6, 2)
    assert batch.inputs.image_of.tolist() == [row // 4 for row in range(24)]
    assert batch.inputs.masked_regions.sum(1).tolist() == [5] * 24
    assert batch.is_matched.sum() == 12
    assert (batch.text_labels[~batch.is_matched] == IGNORE).all()
    assert (batch.text_labels[batch.is_matched] != IGNORE).any()


def test_regions_are_told_with_every_pair():
    pairs = grouped(HandMade(6), corruptions={}, pixel_input=None, matched=1, unmatched=2)
    inputs = pairs[places(pairs)].inputs
    assert inputs.image_of is None
    assert inputs.features[:, 0, 0].tolist() == [row // 3 for row in range(18)]


def test_a_group_depends_on_seed_epoch_and_place_alone():
    once, again = grouped(HandMade(6)), grouped(HandMade(6))
    again[places(again, epoch=9)]
    assert _same(once[places(once, 4)], again[places(again, 4)])
    other = grouped(HandMade(6), seed=1)
    assert not _same(once[places(once, 4)], other[places(other, 4)])
    assert not _same(once[places(once, 4)], once[places(once, 5)])


def test_workers_change_no_number_of_groups():
    def batches(num_workers):
        data = PretrainingData(
            HandMade(24),
            HandMade(6),
            open_tokenizer(),
            CORRUPTIONS,
            {},
            4,
            num_workers,
            pixel_input=PIXELS,
            texts=Texts(),
        )
        return [*data.train_dataloader(), *data.val_dataloader()]

    alone, shared = batches(0), batches(2)
    assert [len(batch) for batch in alone] == [16] * 6 + [16, 8]
    assert all(_same(a, b) for a, b in zip(alone, shared, strict=True))


@pytest.mark.parametrize("texts", [{"matched": 0}, {"unmatched": -1}])
def test_numbers_that_are_none_are_refused(texts):
    with pytest.raises(ValueError) as error:
        Texts(**texts)
    found = {"matched": 2, "unmatched": 2, **texts}
    expected = f"matched={found['matched']} and unmatched={found['unmatched']}: expected at least 1 caption"
    assert re.match(re.escape(expected), str(error.value))


def _same(a, b) -> bool:
    parts = [
        (x.inputs.input_ids, x.inputs.masked_regions, x.inputs.pixels, x.text_labels, x.is_matched) for x in (a, b)
    ]
    return all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(*parts, strict=True))


class Named(HandMade):
    """Every caption is its own."""

    def __getitem__(self, index: int) -> Sample:
        return Sample(**{**vars(super().__getitem__(index)), "caption": str(index)})


def test_captions_of_others_come_from_the_shares_of_all_processes():
    pairs, numbers = grouped(Named(40), corruptions={}), []
    for epoch in range(10):
        share = [place for batch in TrainingOrder(40, 4, 0, rank=0, world_size=2).batches(epoch) for place in batch]
        own = {place.index for place in share}
        assert len(own) == 20
        others = [int(example.sample.caption) for place in share for example in pairs.examples(place)[2:]]
        numbers += [number in own for number in others]
    assert len(numbers) == 400
    assert sum(numbers) == pytest.approx(400 * 19 / 39, abs=4.5 * 10)
