"""What is read of pairs against recorded activations."""

from __future__ import annotations

import re

import pytest
import torch

from tests.data.worlds import HandMade
from tests.probes.subjects import TOKENIZER, encoder, pretrained
from vlp.data.collate import ProbeBatch
from vlp.data.loading import probe_loader
from vlp.models import VLEncoder
from vlp.models.observation import Site
from vlp.observe.recording import record
from vlp.probes.pair_sites import (
    PHRASE,
    REGION,
    PairObserver,
    PairPlaces,
    PairSites,
    columns,
    coreference_sites,
    relation_sites,
)

ROW = torch.tensor([1, 1, 4, 2])
PIECES = torch.tensor([[1, 2, 3], [2, 0, 0], [1, 0, 0], [1, 2, 0]])
MASK = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 0, 0], [1, 1, 0]], dtype=torch.bool)
REGIONS = torch.tensor([1, 0, 1, 2])
OTHERS = torch.tensor([0, 1, 0, 1])


def batch() -> ProbeBatch:
    return next(iter(probe_loader(HandMade(), TOKENIZER, 6)))


def test_a_single_stream_is_read_in_every_layer():
    sites = coreference_sites(encoder("uniter").sites)
    assert sites.sides == (PHRASE, REGION)
    assert sites.attention == tuple((Site("joint", layer, "joint", "joint"),) * 2 for layer in (0, 1))
    assert [columns(layer) for layer in sites.states] == [
        {"stage": "joint", "query": "joint", "layer": layer} for layer in (0, 1, 2)
    ]
    assert relation_sites(encoder("uniter").sites) == PairSites((REGION, REGION), sites.attention, sites.states)


def test_two_streams_are_read_between_them_for_phrases():
    sites = coreference_sites(encoder("lxmert").sites)
    assert sites.attention == tuple(
        (Site("cross", layer, "text", "vision"), Site("cross", layer, "vision", "text")) for layer in (0, 1)
    )
    assert sites.states[0] == (Site("text", -1, "text"), Site("vision", -1, "vision"))
    assert [columns(layer) for layer in sites.states] == [
        {"stage": "cross", "query": "joint", "layer": layer} for layer in (0, 1, 2)
    ]


def test_two_streams_are_read_in_the_visual_one_for_relations():
    sites = relation_sites(encoder("lxmert").sites)
    assert [columns(layer) for layer in sites.states] == [
        {"stage": "vision", "query": "vision", "layer": 0},
        {"stage": "vision", "query": "vision", "layer": 1},
        {"stage": "cross", "query": "vision", "layer": 1},
        {"stage": "cross", "query": "vision", "layer": 2},
    ]
    assert [str(first) for first, _ in sites.attention] == [
        "vision.0.vision-vision",
        "cross.0.vision-vision",
        "cross.1.vision-vision",
    ]


def test_a_model_without_regions_is_refused():
    message = "expected layers that regions pass (stage joint or vision), found only text"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        relation_sites(encoder("bert").sites)


@pytest.mark.parametrize("model", ["uniter", "visualbert", "lxmert", "vilbert", "vl_bert_ctrl", "lxmert_ctrl"])
def test_a_phrase_gets_the_largest_weight_and_the_mean_state(model: str):
    subject, inputs = pretrained(model).encoder, batch().inputs
    sites = coreference_sites(subject.sites)
    attention, states = read(subject, sites, PairPlaces(ROW, PIECES, MASK, REGIONS, inputs.input_ids.shape[1]))
    trace = record(subject, inputs)
    for pair in range(len(ROW)):
        row, region = ROW[pair], REGIONS[pair]
        pieces = PIECES[pair][MASK[pair]]
        for at, (there, back) in enumerate(sites.attention):
            shift = subject.first_region + (inputs.input_ids.shape[1] if there.stage == "joint" else 0)
            expected = [
                trace.attention[there][row][:, pieces, region + shift].amax(-1),
                trace.attention[back][row][:, region + shift, pieces].amax(-1),
            ]
            torch.testing.assert_close(attention[pair, at], torch.stack(expected, -1), rtol=0, atol=1e-6)
        for at, (first, second) in enumerate(sites.states):
            shift = subject.first_region + (inputs.input_ids.shape[1] if second.stage == "joint" else 0)
            phrase, seen = trace.hidden[first][row][pieces].mean(0), trace.hidden[second][row][region + shift]
            beside = phrase.new_zeros(len(seen) - len(phrase))  # where text is the narrower stream
            expected = [torch.cat([phrase, beside]), seen]
            torch.testing.assert_close(states[pair, at], torch.stack(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", ["uniter", "lxmert", "vilbert", "uniter_ctrl"])
def test_regions_are_read_from_subject_to_object_and_back(model: str):
    subject, inputs = pretrained(model).encoder, batch().inputs
    sites = relation_sites(subject.sites)
    places = PairPlaces(ROW, REGIONS[:, None], None, OTHERS, inputs.input_ids.shape[1])
    attention, states = read(subject, sites, places)
    trace = record(subject, inputs)
    for at, (site, _) in enumerate(sites.attention):
        shift = subject.first_region + (inputs.input_ids.shape[1] if site.stage == "joint" else 0)
        expected = trace.attention[site][ROW, :, REGIONS + shift, OTHERS + shift]
        torch.testing.assert_close(attention[:, at, :, 0], expected, rtol=0, atol=5e-6)
        torch.testing.assert_close(
            attention[:, at, :, 1], trace.attention[site][ROW, :, OTHERS + shift, REGIONS + shift], rtol=0, atol=5e-6
        )
        hidden = trace.hidden[sites.states[at + 1][0]]
        torch.testing.assert_close(states[:, at + 1, 1], hidden[ROW, OTHERS + shift], rtol=1e-5, atol=1e-5)


def test_the_mean_of_a_phrase_is_in_single_precision_whatever_the_arithmetic():
    site = Site("joint", 0, "joint")
    observer = PairObserver(PairSites((PHRASE, REGION), (), ((site, site),)))
    observer.look_at(PairPlaces(torch.tensor([0]), torch.tensor([[0, 1, 2]]), torch.ones(1, 3).bool(), ROW[:1], 3))
    states = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        mean = observer._states(states, site, 0)
    torch.testing.assert_close(mean, states[:, :3].mean(1), rtol=1e-6, atol=1e-6)


def read(subject: VLEncoder, sites: PairSites, places: PairPlaces) -> tuple[torch.Tensor, torch.Tensor]:
    observer = PairObserver(sites, subject.first_region)
    observer.look_at(places)
    with torch.no_grad():
        subject(batch().inputs, observers=[observer])
    return observer.take()
