import torch

from tests.models.examples import random_batch, small_encoder
from vlp.observe import Reducing, record


def test_a_reduction_sees_each_chosen_site_as_it_passes():
    encoder, batch = small_encoder("lxmert"), random_batch()
    chosen = encoder.hidden_sites[::2]
    observer = Reducing(chosen, lambda site, states: states.mean(dim=(1, 2)))
    encoder(batch, [observer])
    found, expected = observer.take(), record(encoder, batch).hidden
    assert tuple(found) == chosen
    for site in chosen:
        torch.testing.assert_close(found[site], expected[site].mean(dim=(1, 2)), rtol=0, atol=1e-5)


def test_results_are_handed_over_once():
    encoder = small_encoder("bert")
    observer = Reducing(encoder.attention_sites, lambda site, weights: weights.amax(dim=(1, 2, 3)))
    encoder(random_batch(), [observer])
    assert len(observer.take()) == len(encoder.attention_sites)
    assert observer.take() == {}


def test_two_observers_share_one_pass():
    encoder, batch = small_encoder("uniter"), random_batch()
    first = Reducing(encoder.attention_sites, lambda site, weights: weights[..., 0].sum())
    second = Reducing(encoder.sites[:3], lambda site, value: value.sum())
    encoder(batch, [first, second])
    assert len(first.take()) == len(encoder.attention_sites)
    assert len(second.take()) == 3
