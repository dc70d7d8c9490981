import pytest
import torch

from tests.data.worlds import CAPTIONS, HandMade
from vlp.data.loading import PretrainingData, probe_loader
from vlp.data.masking import IGNORE, PairMismatch, TextMasking
from vlp.data.pairs import PretrainingPairs
from vlp.data.tokenisation import open_tokenizer
from vlp.durable.stopping import ignore_signals


def data(task_weights=None, num_workers=0):
    corruptions = {"mlm": TextMasking(0.5), "itm": PairMismatch()}
    train, val = HandMade(24), HandMade(10)
    return PretrainingData(
        train, val, open_tokenizer(), corruptions, task_weights or {}, 4, num_workers=num_workers, max_pieces=16
    )


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_probe_sees_every_sample_once_and_in_order(num_workers):
    batches = list(probe_loader(HandMade(10), open_tokenizer(), batch_size=4, num_workers=num_workers))
    assert [s.sample_id for b in batches for s in b.samples] == [f"sample{i}" for i in range(10)]
    assert [len(b) for b in batches] == [4, 4, 2]
    assert batches[0].samples[1].caption == CAPTIONS[1]


def test_workers_change_no_number():
    alone, shared = (list(data(num_workers=n).train_dataloader()) for n in (0, 2))
    for a, b in zip(alone, shared, strict=True):
        assert torch.equal(a.inputs.input_ids, b.inputs.input_ids)
        assert torch.equal(a.inputs.features, b.inputs.features)
        assert torch.equal(a.is_matched, b.is_matched)


def test_training_goes_on_at_a_position():
    whole = [b.inputs.input_ids.tolist() for b in data().train_dataloader()]
    resumed = data()
    resumed.position = (0, 2)
    assert [b.inputs.input_ids.tolist() for b in resumed.train_dataloader()] == whole[2:]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_position_at_the_end_of_an_epoch_leaves_nothing_of_it_and_the_next_one_whole(num_workers):
    resumed, next_epoch = data(num_workers=num_workers), data()
    resumed.position, next_epoch.position = (3, 6), (4, 0)
    loader = resumed.train_dataloader()
    assert len(loader) == 6
    loader.sampler.set_epoch(3)
    assert list(loader) == []
    loader.sampler.set_epoch(4)
    whole = [b.inputs.input_ids.tolist() for b in next_epoch.train_dataloader()]
    assert len(whole) == 6
    assert [b.inputs.input_ids.tolist() for b in loader] == whole


def test_held_out_pairs_are_gone_through_once_an_objective_where_training_draws_one_a_step():
    together = list(data().val_dataloader())
    apart = list(data({"mlm": 2.0, "itm": 1.0}).val_dataloader())
    assert [b.tasks for b in together] == [()] * 3
    assert [b.tasks for b in apart] == [("mlm",)] * 3 + [("itm",)] * 3
    assert all((b.text_labels == IGNORE).all() for b in apart[3:])


def test_too_few_pairs_for_a_batch_are_told_before_anything_is_done():
    too_few = data()
    too_few.train_pairs = PretrainingPairs(HandMade(3), open_tokenizer(), {})
    with pytest.raises(ValueError) as error:
        too_few.setup("validate")
    assert str(error.value) == "3 training pairs are fewer than one batch: batch_size=4 on 1 processes"


def test_workers_of_every_loader_outlive_signals():
    loaders = (data().train_dataloader(), data().val_dataloader(), probe_loader(HandMade(4), open_tokenizer(), 2))
    assert {loader.worker_init_fn for loader in loaders} == {ignore_signals}
