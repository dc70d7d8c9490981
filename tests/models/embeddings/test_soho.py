from dataclasses import replace
from datetime import timedelta

import pytest
import torch

from tests.models.examples import batch_for, small_encoder
from vlp.models import build
from vlp.models.embeddings.dictionary import VisualDictionary
from vlp.models.embeddings.soho import alike

ENTRIES = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])


def dictionary(momentum=0.75, eps=0.0) -> VisualDictionary:
    own = VisualDictionary(3, 2, momentum, eps)
    own.entries.copy_(ENTRIES)
    own.sums.copy_(ENTRIES)
    return own


def test_a_feature_gets_its_nearest_entry():
    found, numbers = dictionary().eval()(torch.tensor([[1.0, 1.0], [3.0, 0.5], [-1.0, 9.0]]))
    assert numbers.tolist() == [0, 1, 2]
    torch.testing.assert_close(found, ENTRIES)


def test_entries_follow_the_mean_of_what_chose_them():
    own = dictionary().train()
    own(torch.tensor([[3.0, 0.0], [3.0, 2.0], [1.0, 0.0]]))
    # counts: 3/4 + 1/4 * (1, 2, 0); sums: 3/4 old + 1/4 new
    assert own.counts.tolist() == [1.0, 1.25, 0.75]
    torch.testing.assert_close(own.sums, torch.tensor([[0.25, 0.0], [4.5, 0.5], [0.0, 3.0]]))
    torch.testing.assert_close(own.entries, torch.tensor([[0.25, 0.0], [3.6, 0.4], [0.0, 4.0]]))


SEEN = torch.tensor([[3.0, 0.0], [3.0, 2.0], [1.0, 0.0], [0.5, 9.0]])


def _see_a_half(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/meeting", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    own = dictionary().train()
    own(SEEN[rank::2])
    torch.save(own.state_dict(), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_entries_follow_what_all_processes_see(tmp_path):
    torch.multiprocessing.spawn(_see_a_half, args=(str(tmp_path),), nprocs=2)
    alone = dictionary().train()
    alone(SEEN)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert all(torch.equal(found[name], buffer) for name, buffer in alone.state_dict().items())


def test_an_entry_nobody_chooses_stays_and_the_others_converge():
    own = dictionary(eps=1e-5).train()
    for _ in range(30):
        own(torch.tensor([[3.0, 1.0], [0.5, 0.5]]))
    torch.testing.assert_close(own.entries, torch.tensor([[0.5, 0.5], [3.0, 1.0], [0.0, 4.0]]), rtol=0, atol=0.25)


def test_nothing_moves_in_evaluation_nor_without_gradients():
    own = dictionary().train()
    with torch.no_grad():
        own(torch.ones(4, 2))
    own.eval()(torch.ones(4, 2))
    assert torch.equal(own.entries, ENTRIES)
    assert own.counts.tolist() == [1, 1, 1]


def test_gradients_pass_as_if_nothing_had_been_looked_up():
    features = torch.tensor([[1.0, 1.0], [3.0, 0.5]], requires_grad=True)
    found, _ = dictionary().eval()(features)
    (found * torch.tensor([[2.0, 3.0], [5.0, 7.0]])).sum().backward()
    assert features.grad.tolist() == [[2, 3], [5, 7]]


@pytest.mark.parametrize("momentum", [-0.1, 1.0])
def test_an_impossible_momentum_is_refused(momentum):
    with pytest.raises(ValueError) as error:
        VisualDictionary(3, 2, momentum)
    assert str(error.value) == f"momentum={momentum}: expected a share in [0, 1)"


def test_cells_alike_are_those_of_the_pivot_s_number_and_image():
    numbers = torch.tensor([[5, 7, 5, 5], [7, 7, -1, 5], [1, 1, 1, 1]])
    mask = torch.tensor([[True] * 4, [True, True, False, True], [True] * 4])
    hidden = alike(numbers, mask, torch.tensor([0.3, 0.7, torch.nan]))
    # second of four cells; third of three real ones, which stands last; none
    assert hidden.tolist() == [[False, True, False, False], [False, False, False, True], [False] * 4]
    assert alike(numbers, mask, torch.tensor([0.0, 0.0, 0.99999999])).tolist() == [
        [True, False, True, True],
        [True, True, False, False],
        [True] * 4,
    ]


@torch.no_grad()
def test_a_hidden_cell_is_not_seen_and_its_number_is_told():
    encoder = small_encoder("soho")
    given = replace(batch_for(encoder), pivots=torch.tensor([0.1, torch.nan, 0.6]))
    hidden, shown = encoder.embeddings(given), encoder.embeddings(replace(given, pivots=None))
    assert torch.equal(hidden.targets, shown.targets)
    assert shown.hidden is None
    assert hidden.hidden.any(1).tolist() == [True, False, True]
    assert not hidden.hidden[~hidden.vision_mask].any()
    same = (hidden.vision == shown.vision).all(-1)
    assert torch.equal(same[hidden.vision_mask], ~hidden.hidden[hidden.vision_mask])
    encoding = encoder(given)
    assert torch.equal(encoding.hidden, hidden.hidden)
    assert torch.equal(encoding.targets, hidden.targets)


def test_training_moves_the_dictionary_and_evaluation_does_not():
    encoder = small_encoder("soho")
    given, before = batch_for(encoder), encoder.embeddings.dictionary.entries.clone()
    encoder(given)
    assert torch.equal(encoder.embeddings.dictionary.entries, before)
    encoder.train()(given)
    assert not torch.equal(encoder.embeddings.dictionary.entries, before)


def test_base_is_the_paper_s():
    with torch.device("meta"):
        own = build("soho", size="base").embeddings
    assert (len(own.dictionary), own.dictionary.momentum, own.parser.stride) == (2048, 0.99, 64)
    assert own.pixel_input.resized(640, 480) == (768, 576)
    assert own.pixel_input.resized(2000, 500) == (960, 192)
