"""Rows with labels, and the order in which probers see them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.probes.probers.examples import settings
from vlp.probes.probers import Examples
from vlp.probes.probers.examples import FittingOrder


def test_a_tensor_an_array_and_a_memory_map_give_the_same_rows(tmp_path: Path):
    inputs = torch.rand(9, 2, 3)
    np.save(tmp_path / "inputs.npy", inputs.numpy())
    stores = (inputs, inputs.numpy(), np.load(tmp_path / "inputs.npy", mmap_mode="r"))
    places = torch.tensor([[8, 0], [3, 3]])
    for batch in (Examples(store, torch.arange(9)).take(places) for store in stores):
        torch.testing.assert_close(batch.inputs, inputs[places], rtol=0, atol=0)
        assert batch.label.tolist() == [[8, 0], [3, 3]]


def test_half_precision_is_read_as_single(tmp_path: Path):
    inputs = torch.rand(4, 2).half()
    assert Examples(inputs, torch.zeros(4).long()).take(torch.tensor([[1]])).inputs.dtype is torch.float32


def test_a_selection_of_a_selection_counts_from_its_own_first_item():
    chosen = Examples(torch.arange(10.0), torch.arange(10)).select(torch.tensor([7, 5, 3])).select(torch.tensor([2, 0]))
    assert chosen.labels.tolist() == [3, 7]
    assert chosen.take(torch.tensor([[1]])).inputs.tolist() == [[7.0]]
    assert chosen.relabelled(torch.arange(10) + 1).labels.tolist() == [4, 8]


def test_batches_hold_every_item_once_in_order():
    batches = list(Examples(torch.rand(10, 2), torch.arange(10)).batches(4))
    assert [batch.label.tolist() for batch in batches] == [[[0, 1, 2, 3]], [[4, 5, 6, 7]], [[8, 9]]]


def order(size: int, epoch: int = 0, seed: int = 0, **changes: object) -> torch.Tensor:
    fitting = FittingOrder(size, settings(**{"batch_size": 4, "min_batches": 1, **changes}), seed)
    fitting.set_epoch(epoch)
    assert len(list(fitting)) == len(fitting)
    return torch.cat(list(fitting), dim=1)


def test_every_prober_seed_sees_every_item_once_an_epoch_in_an_order_of_its_own():
    places = order(10, seeds=[0, 1])
    assert places.sort(dim=1).values.tolist() == [list(range(10))] * 2
    assert places[0].tolist() != places[1].tolist()


def test_an_order_depends_on_seeds_and_epoch_and_not_on_the_other_seeds():
    torch.testing.assert_close(order(50, seeds=[3, 1])[1:], order(50, seeds=[1]), rtol=0, atol=0)
    orders = [order(50, epoch, seed)[0].tolist() for epoch in (0, 1) for seed in (0, 1)]
    assert len(set(map(tuple, orders))) == 4


def test_few_items_are_gone_through_until_the_epoch_has_its_batches():
    places = order(10, batch_size=4, min_batches=6)
    assert places.shape == (1, 30)
    assert torch.bincount(places[0]).tolist() == [3] * 10
    assert order(3, batch_size=4, min_batches=2).shape == (1, 6)


def test_what_is_no_row_for_each_label_is_refused():
    with pytest.raises(ValueError) as caught:
        Examples(torch.rand(3, 2), torch.zeros(4).long())
    assert str(caught.value) == "a prober needs one label a row, got 3 rows and labels of shape (4,)"
    with pytest.raises(ValueError) as caught:
        Examples(torch.rand(3, 2), torch.zeros(3).long()).select(torch.arange(0))
    assert str(caught.value) == "a prober needs at least one item, got none"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": []}, "a prober needs seeds, each once, got seeds=[]"),
        ({"seeds": [1, 1]}, "a prober needs seeds, each once, got seeds=[1, 1]"),
        ({"patience": 0}, "a prober needs patience of at least 1, got patience=0"),
    ],
)
def test_settings_that_train_nothing_are_refused(changes: dict[str, object], message: str):
    with pytest.raises(ValueError) as caught:
        settings(**changes)
    assert str(caught.value) == message
