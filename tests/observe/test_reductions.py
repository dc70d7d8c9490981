"""Observers that reduce as they look, against whole recordings."""

from __future__ import annotations

import re

import pytest
import torch

from tests.models.examples import random_batch, small_encoder
from vlp.data.sample import Batch
from vlp.models import VLEncoder
from vlp.models.observation import Site
from vlp.observe.observers import Reducing
from vlp.observe.recording import record
from vlp.observe.reductions import MeetingStates, RunningPath, mass_of_query, means_of_groups, meeting_layers


@pytest.mark.parametrize("model", ["uniter", "visualbert"])
def test_a_single_stream_meets_in_its_embedding_and_in_every_layer(model: str):
    layers = meeting_layers(small_encoder(model).sites)
    assert layers == tuple((Site("joint", layer, "joint"),) for layer in (-1, 0, 1, 2))


def test_two_streams_meet_in_their_cross_layers_text_first():
    layers = meeting_layers(small_encoder("lxmert").sites)
    assert layers == tuple((Site("cross", layer, "text"), Site("cross", layer, "vision")) for layer in (0, 1))


def test_a_model_without_vision_meets_nowhere():
    message = "expected layers in which text and vision meet (stage joint or cross), found only text"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        meeting_layers(small_encoder("bert").sites)


def test_the_narrower_stream_s_states_get_zeros_beside_them():
    encoder, batch = small_encoder("vilbert"), random_batch()
    layers = meeting_layers(encoder.sites)
    observer = MeetingStates(layers, torch.clone)
    encoder(batch, [observer])
    hidden = record(encoder, batch).hidden
    text, vision = (hidden[site] for site in layers[-1])
    last = observer.take()[-1]
    assert last.shape == (3, 7 + 7, encoder.vision_width)
    torch.testing.assert_close(last[:, :7, : encoder.width], text, rtol=0, atol=1e-5)
    assert last[:, :7, encoder.width :].count_nonzero() == 0
    torch.testing.assert_close(last[:, 7:], vision, rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", ["uniter", "lxmert"])
def test_states_of_a_layer_are_handed_over_together(model: str):
    encoder, batch = small_encoder(model), random_batch()
    layers = meeting_layers(encoder.sites)
    observer = MeetingStates(layers, torch.clone)
    encoder(batch, [observer])
    hidden = record(encoder, batch).hidden
    expected = [torch.cat([hidden[site] for site in layer], dim=1) for layer in layers]
    for ours, theirs in zip(observer.take(), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)  # maps are recorded there, fused here
    assert observer.take() == []


def attention_of_text(lengths: tuple[int, ...] = (7, 4, 5)) -> tuple[VLEncoder, Batch]:
    return small_encoder("bert"), random_batch(lengths)


def test_a_path_is_the_product_of_all_layers():
    encoder, batch = attention_of_text()
    observer = RunningPath(encoder.attention_sites)
    encoder(batch, [observer])
    maps = [weights.mean(1) for weights in record(encoder, batch).attention.values()]
    factors = [(torch.eye(7) + weights) / 2 for weights in maps]
    torch.testing.assert_close(observer.take(), factors[2] @ factors[1] @ factors[0])
    with pytest.raises(AssertionError):
        observer.take()


def test_mass_is_the_sum_of_one_querys_weights_over_a_group():
    encoder, batch = attention_of_text()
    groups = torch.rand(3, 2, 7) < 0.5
    observer = Reducing(encoder.attention_sites, mass_of_query(1, groups))
    encoder(batch, [observer])
    kept = observer.take()
    for site, weights in record(encoder, batch).attention.items():
        expected = [[(weights[b, :, 1] * groups[b, g]).sum(-1) for g in range(2)] for b in range(3)]
        torch.testing.assert_close(kept[site], torch.stack([torch.stack(each, -1) for each in expected]))


def test_means_are_those_of_each_groups_tokens():
    encoder, batch = attention_of_text()
    groups = torch.zeros(3, 3, 7, dtype=torch.bool)
    groups[:, 0, 1:3] = True
    groups[:, 1, 0] = True
    observer = Reducing(encoder.hidden_sites, means_of_groups(groups))
    encoder(batch, [observer])
    kept = observer.take()
    for site, states in record(encoder, batch).hidden.items():
        expected = torch.stack([states[:, 1:3].mean(1), states[:, 0], torch.zeros_like(states[:, 0])], 1)
        torch.testing.assert_close(kept[site], expected, rtol=0, atol=1e-5)
