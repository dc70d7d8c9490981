"""The row for the whole image: made in the embedding, attended, and no region."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from tests.models.examples import random_batch, small_encoder
from vlp.models.embeddings.base import Embeddings, TextEmbeddings
from vlp.models.embeddings.regions import location_vector, with_global_region
from vlp.observe import record

LENGTHS, REGIONS = (7, 4, 5), (5, 2, 6)
CTRL = ("uniter_ctrl", "visualbert_ctrl", "vl_bert_ctrl", "lxmert_ctrl", "vilbert_ctrl")
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def batch():
    return random_batch(LENGTHS, REGIONS)


@pytest.mark.parametrize(("place", "at"), [("first", 0), ("last", -1)])
def test_it_is_the_mean_of_real_regions_hidden_ones_counting_as_zeros(place, at):
    hidden = replace(batch(), masked_regions=torch.arange(6).expand(3, 6) == 0)
    found = with_global_region(hidden, place)
    for row, count in enumerate(REGIONS):
        expected = hidden.features[row, 1:count].sum(0) / count
        torch.testing.assert_close(found.features[row, at], expected, **CLOSE)
    assert found.boxes[:, at].tolist() == [[0.0, 0.0, 1.0, 1.0]] * 3
    assert found.region_mask[:, at].all()
    assert not found.masked_regions[:, at].any()
    others = slice(1, None) if place == "first" else slice(None, -1)
    assert torch.equal(found.boxes[:, others], hidden.boxes)
    assert torch.equal(found.region_mask[:, others], hidden.region_mask)


def test_segments_and_aligned_words_are_those_of_regions_alone():
    given = replace(batch(), visual_types=torch.ones(3, 6).long(), alignment=torch.zeros(3, 6, 2).long())
    found = with_global_region(given, "last")
    assert found.visual_types[0].tolist() == [1, 1, 1, 1, 1, 1, 0]
    assert found.alignment[0, -1].tolist() == [-1, -1]


@pytest.mark.parametrize("name", [*CTRL, "vilbert", "vl_bert"])
@torch.no_grad()
def test_it_stands_in_the_visual_stream_and_not_in_the_encoding(name):
    encoder, given = small_encoder(name), batch()
    encoding, trace = encoder(given), record(encoder, given)
    stream = "joint" if any(site.stage == "joint" for site in encoder.sites) else "vision"
    states = [states for site, states in trace.hidden.items() if site.query == stream][-1]
    start = (7 if stream == "joint" else 0) + encoder.first_region
    assert states.shape[1] == (7 if stream == "joint" else 0) + 7
    torch.testing.assert_close(states[:, start : start + 6], encoding.vision, **CLOSE)
    assert encoder.first_region == (0 if name == "vl_bert" else 1)


@pytest.mark.parametrize("name", [*CTRL, "vl_bert"])
def test_no_mask_counts_it_and_all_attend_it(name):
    encoder, given = small_encoder(name), batch()
    real, is_vision = encoder.stream_masks(given, "vision")
    assert is_vision.all()
    whole = 6 if name == "vl_bert" else 0
    assert not real[:, whole].any()
    assert torch.equal(encoder.embeddings.without_global(real), given.region_mask)
    assert real.sum(1).tolist() == list(REGIONS)
    joint, _ = encoder.stream_masks(given, "joint")
    assert joint.sum(1).tolist() == [a + b for a, b in zip(LENGTHS, REGIONS, strict=True)]
    seen = [weights for site, weights in record(encoder, given).attention.items() if site.key in ("joint", "vision")]
    column = whole + (7 if seen[0].shape[-1] == 14 else 0)
    assert all((weights[..., column] > 0).all() for weights in seen)


@torch.no_grad()
def test_uniter_s_region_has_five_numbers_of_place_and_no_mask_vector():
    encoder, given = small_encoder("uniter_ctrl"), batch()
    hidden = replace(given, masked_regions=torch.arange(6).expand(3, 6) == 2)
    embeddings, weights = encoder.embeddings, encoder.state_dict()
    assert "embeddings.masked_feature.weight" not in weights
    x1, y1, x2, y2 = given.boxes.unbind(-1)
    place = embeddings.location(torch.stack([x1, y1, x2, y2, (x2 - x1) * (y2 - y1)], dim=-1))
    features = given.features.clone()
    features[:, 2] = 0
    look = embeddings.features_norm(embeddings.features(features))
    summed = look + embeddings.location_norm(place) + embeddings.text.types.weight[1]
    torch.testing.assert_close(embeddings(hidden).vision[:, 1:], embeddings.norm(summed), **CLOSE)


@torch.no_grad()
def test_visualbert_s_region_has_segment_one_and_no_place():
    encoder, given = small_encoder("visualbert_ctrl"), batch()
    embeddings = encoder.embeddings
    summed = embeddings.features(given.features) + embeddings.visual_positions.weight[0]
    expected = embeddings.text.norm(summed + embeddings.visual_types.weight[1])
    torch.testing.assert_close(embeddings(given).vision[:, 1:], expected, **CLOSE)


@torch.no_grad()
def test_lxmert_s_region_is_a_mean_of_two_norms_and_its_text_tables_all_learn():
    encoder, given = small_encoder("lxmert_ctrl"), batch()
    embeddings = encoder.embeddings
    place = torch.cat([given.boxes, (given.boxes[..., 2:] - given.boxes[..., :2]).prod(-1, keepdim=True)], dim=-1)
    look = embeddings.features_norm(embeddings.features(given.features))
    expected = (look + embeddings.location_norm(embeddings.location(place))) / 2
    torch.testing.assert_close(embeddings(given).vision[:, 1:], expected, **CLOSE)
    with torch.enable_grad():
        encoder(given).text.square().sum().backward()
    assert embeddings.text.positions.weight.grad[0].count_nonzero() == 32


@pytest.mark.parametrize("name", ["vilbert", "vilbert_ctrl"])
@torch.no_grad()
def test_vilbert_s_region_is_the_norm_of_a_sum(name):
    encoder, given = small_encoder(name), batch()
    embeddings = encoder.embeddings
    place = torch.cat([given.boxes, (given.boxes[..., 2:] - given.boxes[..., :2]).prod(-1, keepdim=True)], dim=-1)
    features, location = embeddings.features, embeddings.location
    summed = given.features @ features.weight.T + place @ location.weight.T + features.bias + location.bias
    norm = embeddings.norm
    expected = functional.layer_norm(summed, summed.shape[-1:], norm.weight, norm.bias, 1e-12)
    torch.testing.assert_close(embeddings(given).vision[:, 1:], expected, **CLOSE)


def test_what_does_not_exist_is_refused():
    class Anywhere(Embeddings):
        def forward(self, batch):
            raise NotImplementedError

    with pytest.raises(ValueError, match=r"^global_region=middle: expected first, last or null$"):
        Anywhere(TextEmbeddings(5, 4, 4), 3, "middle")
    with pytest.raises(ValueError, match=r"^location_width=6: expected 4 \(corners\), 5 \(and area\) or 7"):
        location_vector(torch.zeros(1, 4), 6)
