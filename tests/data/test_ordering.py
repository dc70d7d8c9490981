import pytest

from vlp.data import loading
from vlp.data.loading import EveryBatch
from vlp.data.ordering import TrainingOrder


def indices(batches):
    return [[place.index for place in batch] for batch in batches]


def test_an_epoch_sees_every_pair_once():
    order = TrainingOrder(size=64, batch_size=8, seed=0)
    assert sorted(sum(indices(order), [])) == list(range(64))
    assert len(order) == 8


def test_order_is_a_function_of_seed_and_epoch():
    first, again = (TrainingOrder(64, 8, seed=3) for _ in range(2))
    assert first.batches(5) == again.batches(5)
    assert indices(first.batches(5)) != indices(first.batches(6))
    assert indices(first.batches(5)) != indices(TrainingOrder(64, 8, seed=4).batches(5))


def test_resuming_yields_the_rest_of_the_epoch():
    order = TrainingOrder(64, 8, seed=0, epoch=2, start=3)
    assert list(order) == order.batches(2)[3:]
    order.set_epoch(2)
    assert list(order) == order.batches(2)[3:]
    order.set_epoch(3)
    assert list(order) == order.batches(3)


def test_batches_hold_captions_of_like_length():
    order = TrainingOrder(1024, 16, seed=0, length=lambda index: index % 32)
    spreads = [max(i % 32 for i in batch) - min(i % 32 for i in batch) for batch in indices(order)]
    assert sum(spreads) / len(spreads) < 3  # unsorted: about 29
    assert sorted(sum(indices(order), [])) == list(range(1024))


def test_processes_share_the_batches_of_one_process():
    alone = indices(TrainingOrder(64, 4, seed=1))
    shared = [indices(TrainingOrder(64, 4, seed=1, rank=rank, world_size=2)) for rank in range(2)]
    assert sorted(shared[0] + shared[1]) == sorted(alone)
    assert len(shared[0]) == len(shared[1]) == 8


def test_tasks_are_drawn_by_weight():
    order = TrainingOrder(8000, 8, seed=0, tasks={"mlm": 3.0, "itm": 1.0})
    drawn = [batch[0].tasks for batch in order]
    assert set(drawn) == {("mlm",), ("itm",)}
    assert drawn.count(("mlm",)) / len(drawn) == pytest.approx(0.75, abs=0.04)


def test_too_few_pairs_for_a_batch_are_refused():
    with pytest.raises(ValueError) as error:
        TrainingOrder(7, 4, seed=0, world_size=2)
    assert str(error.value) == "7 training pairs are fewer than one batch: batch_size=4 on 2 processes"


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_held_out_pairs_are_seen_exactly_once_whatever_the_number_of_processes(world_size, monkeypatch):
    order, seen = EveryBatch(size=23, batch_size=4), []
    for rank in range(world_size):
        monkeypatch.setattr(loading, "process_rank", lambda rank=rank: (rank, world_size))
        assert len(list(order)) == len(order)
        seen += sum(indices(order), [])
    assert sorted(seen) == list(range(23))


@pytest.mark.parametrize("world_size", [1, 2, 3, 5, 7])
def test_the_batches_that_all_processes_share_are_those_of_the_one_that_has_fewest(world_size, monkeypatch):
    order, counts = EveryBatch(size=23, batch_size=4, task_groups=[("mlm",), ("itm",)]), []
    for rank in range(world_size):
        monkeypatch.setattr(loading, "process_rank", lambda rank=rank: (rank, world_size))
        counts.append(len(list(order)))
    assert order.num_shared == min(counts)


def test_a_process_without_a_batch_has_a_length_so_that_it_is_not_left_out(monkeypatch):
    order = EveryBatch(size=3, batch_size=4, task_groups=[("mlm",), ("itm",)])
    shares = {}
    for rank in range(2):
        monkeypatch.setattr(loading, "process_rank", lambda rank=rank: (rank, 2))
        shares[rank] = (len(order), len(list(order)))
    assert shares == {0: (2, 2), 1: (1, 0)}


def test_all_processes_have_the_same_task_in_a_step():
    orders = [TrainingOrder(800, 8, seed=0, tasks={"mlm": 1.0, "itm": 1.0}, rank=r, world_size=2) for r in range(2)]
    first, second = ([batch[0].tasks for batch in order] for order in orders)
    assert first == second
    assert set(first) == {("mlm",), ("itm",)}


def test_lengths_are_asked_once():
    asked = []
    order = TrainingOrder(64, 8, seed=0, length=lambda index: asked.append(index) or index % 5)
    for epoch in range(3):
        order.batches(epoch)
    assert sorted(asked) == list(range(64))


def test_batches_of_one_step_are_for_one_objective():
    order = TrainingOrder(1200, 8, seed=0, tasks={"mlm": 1.0, "itm": 1.0}, batches_a_step=3)
    drawn = [batch[0].tasks for batch in order]
    assert all(len(set(drawn[start : start + 3])) == 1 for start in range(0, len(drawn), 3))
    assert len(set(drawn)) == 2
