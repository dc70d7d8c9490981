import pytest
import torch

from tests.data.worlds import CAPTIONS, HandMade
from vlp.data.groups import Texts
from vlp.data.masking import IGNORE, PairMismatch, RegionMasking, TextMasking
from vlp.data.ordering import Place
from vlp.data.pairs import PretrainingPairs
from vlp.data.pixels import PixelInput
from vlp.data.sample import Phrase, Sample
from vlp.data.tokenisation import open_tokenizer

CORRUPTIONS = {"mlm": TextMasking(), "mrc_kl": RegionMasking(), "itm": PairMismatch()}


def pairs(seed=0, **options):
    return PretrainingPairs(HandMade(**options), open_tokenizer(), CORRUPTIONS, seed=seed)


def places(epoch=0, tasks=(), size=len(CAPTIONS)):
    return [Place(epoch, index, tasks) for index in range(size)]


def tensors(batch):
    return [batch.inputs.input_ids, batch.text_labels, batch.is_matched, batch.asked_regions, batch.features]


def test_a_pair_depends_on_seed_epoch_and_index_alone():
    once, again = pairs()[places(epoch=4)], pairs()
    again[places(epoch=9)]
    assert all(torch.equal(a, b) for a, b in zip(tensors(once), tensors(again[places(epoch=4)]), strict=True))
    alone = again[[Place(4, 3)]]
    length = alone.text_labels.shape[1]
    assert torch.equal(once.text_labels[3, :length], alone.text_labels[0])
    other = pairs(seed=1, size=60)[places(epoch=4, size=60)]
    assert not torch.equal(other.is_matched, pairs(size=60)[places(epoch=4, size=60)].is_matched)


def test_padding_is_marked_and_asks_nothing():
    batch = pairs()[places()]
    padding = ~batch.inputs.text_mask
    assert (batch.inputs.input_ids[padding] == open_tokenizer().pad_id).all()
    assert (batch.text_labels[padding] == IGNORE).all()
    no_region = ~batch.inputs.region_mask
    assert no_region.any()
    assert not batch.asked_regions[no_region].any()
    assert not batch.inputs.masked_regions[no_region].any()


def test_a_batch_for_one_objective_is_corrupted_for_that_one_only():
    batch = pairs()[places(tasks=("itm",))]
    assert (batch.text_labels == IGNORE).all()
    assert batch.inputs.masked_regions is None
    assert not batch.is_matched.all()
    assert batch.concerns("itm")
    assert not batch.concerns("mlm")


def test_the_pair_is_settled_before_it_is_masked():
    """With the mismatch listed last, masks are still those of the pair the model sees."""
    batch = pairs(size=60)[places(size=60)]
    assert not batch.is_matched.all()
    assert (batch.text_labels[~batch.is_matched] == IGNORE).all()
    assert not batch.asked_regions[~batch.is_matched].any()


def test_an_image_of_another_sample_comes_with_its_size_and_features():
    batch = PretrainingPairs(HandMade(), open_tokenizer(), {"itm": PairMismatch(1.0)})[places()]
    own = torch.arange(len(CAPTIONS)).float()
    assert (batch.inputs.features[:, 0, 0] != own).all()
    assert batch.inputs.image_sizes.tolist() == [[100, 50]] * len(CAPTIONS)


class Opened(HandMade):
    """Says whose images were asked for; captions, which have a phrase, are read without."""

    def __init__(self):
        super().__init__()
        self.opened = []

    def __getitem__(self, index):
        self.opened.append(index)
        return super().__getitem__(index)

    def without_image(self, index):
        phrase = Phrase(0, 1, "a", f"chain{index}", (), torch.zeros(0, 4))
        return Sample(f"image{index}", self.caption_of(index), 0, 0, f"sample{index}", phrases=(phrase,))

    def caption_of(self, index):
        return f"a {index}"

    def image_key(self, index):
        return f"image{index}"


@pytest.mark.parametrize("pixel_input", [None, PixelInput(16, None, 4)], ids=["regions", "pixels"])
@pytest.mark.parametrize("texts", [None, Texts(1, 3)], ids=["mismatch", "group"])
def test_of_a_borrowed_caption_the_image_is_not_opened(pixel_input, texts):
    data, mismatch = Opened(), {"itm": PairMismatch(1.0, replace="text")}
    pairs = PretrainingPairs(data, open_tokenizer(), mismatch, pixel_input=pixel_input, texts=texts)
    data.opened.clear()
    borrowed = [example for example in pairs.examples(Place(0, 2)) if not example.is_matched]
    assert data.opened == [2]
    assert len(borrowed) == (1 if texts is None else 3)
    for example in borrowed:
        donor = int(example.sample.caption[-1])
        assert donor != 2
        assert example.sample.caption == data.caption_of(donor)
        assert [phrase.chain_id for phrase in example.sample.phrases] == [f"chain{donor}"]
        assert torch.equal(example.input_ids, open_tokenizer().encode(data.caption_of(donor)).input_ids)
        assert (example.sample.image_id, example.sample.width) == ("image2", 100)


def test_a_batch_names_its_samples_mismatched_or_not():
    batch = PretrainingPairs(HandMade(), open_tokenizer(), {"itm": PairMismatch(1.0)})[places()[2:4]]
    assert not batch.is_matched.any()
    assert batch.sample_ids == ("sample2", "sample3")
    assert batch.to("cpu").sample_ids == batch.sample_ids


def test_moving_a_batch_moves_every_tensor():
    moved = pairs()[places()].to("meta")
    assert {t.device.type for t in tensors(moved)} == {"meta"}
    assert moved.inputs.features.device.type == "meta"


def test_pinning_a_batch_pins_every_tensor(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self.to("meta"))
    pinned = pairs()[places()].pin_memory()
    assert {t.device.type for t in tensors(pinned)} == {"meta"}
