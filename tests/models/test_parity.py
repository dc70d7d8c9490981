"""Our encoders against transformers' on the same random weights, loaded through `load_weights` from a saved folder."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from tests.models.examples import random_batch
from tests.models.peers import ACTIVATIONS, BARE, Sizes, config_of, shaken
from vlp.models import VLEncoder, build, load_weights
from vlp.observe import Site, record

RELATIVE_TO_LARGEST = 1e-5

SMALL = {"bert": Sizes((4,)), "visualbert": Sizes((4,)), "lxmert": Sizes((3, 2, 3))}
BASE_NUMBERS = {
    "width": 768,
    "heads": 12,
    "feed_forward": 3072,
    "positions": 512,
    "vocab": 30522,
    "feature_width": 2048,
}
BASE = {
    "bert": Sizes((12,), **BASE_NUMBERS),
    "visualbert": Sizes((12,), **BASE_NUMBERS),
    "lxmert": Sizes((9, 5, 5), **BASE_NUMBERS),
}


def assert_equal(found: dict[Site, torch.Tensor], expected: dict[Site, torch.Tensor]):
    largest = max(value.abs().max() for site, value in expected.items() if not site.is_attention)
    assert set(found) == set(expected)
    for site, value in expected.items():
        scale = 1.0 if site.is_attention else largest
        assert (found[site] - value).abs().max() <= RELATIVE_TO_LARGEST * scale, str(site)


def pair(name: str, sizes: Sizes, folder) -> tuple[torch.nn.Module, VLEncoder]:
    """The peer, and our model with the weights that the peer saved."""
    torch.manual_seed(0)
    peer = shaken(BARE[name](config_of(name, sizes)))
    peer.save_pretrained(folder)
    encoder = build(name, **sizes.ours())
    report = load_weights(encoder, folder)
    assert (report.missing, report.unexpected, report.source) == ((), (), "huggingface")
    return peer, encoder


def compare(name: str, sizes: Sizes, folder, batch):
    peer, encoder = pair(name, sizes, folder)
    trace = record(encoder, batch)
    assert_equal({**trace.hidden, **trace.attention}, ACTIVATIONS[name](peer, batch))


@pytest.mark.parametrize("name", SMALL)
def test_every_state_and_map_equals_transformers(name, tmp_path):
    compare(name, SMALL[name], tmp_path, random_batch(feature_width=SMALL[name].feature_width))


@pytest.mark.slow
@pytest.mark.parametrize("name", BASE)
def test_every_state_and_map_equals_transformers_at_base(name, tmp_path):
    compare(name, BASE[name], tmp_path, random_batch((20, 13), (36, 11), feature_width=2048))


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_the_pooled_state_equals_transformers(name, tmp_path):
    peer, encoder = pair(name, SMALL[name], tmp_path)
    batch = random_batch(feature_width=SMALL[name].feature_width)
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.text_mask.long()}
    if name == "visualbert":
        inputs["visual_embeds"] = batch.features
        inputs["visual_attention_mask"] = batch.region_mask.long()
        inputs["visual_token_type_ids"] = torch.zeros_like(batch.region_mask).long()
    if name == "lxmert":
        inputs["visual_feats"], inputs["visual_pos"] = batch.features, batch.boxes
        inputs["visual_attention_mask"] = batch.region_mask.long()
    output = peer(**inputs)
    pooled = output.pooled_output if name == "lxmert" else output.pooler_output
    torch.testing.assert_close(encoder(batch).pooled, pooled, rtol=0, atol=1e-5)


def test_visualbert_s_segments_and_aligned_words_equal_transformers(tmp_path):
    alignment = torch.randint(0, 7, (3, 6, 2), generator=torch.Generator().manual_seed(3))
    alignment[:, 1, 1] = -1
    alignment[:, 3] = -1
    batch = replace(
        random_batch(feature_width=SMALL["visualbert"].feature_width),
        alignment=alignment,
        visual_types=torch.tensor([[0, 1, 1, 0, 0, 1]] * 3),
        token_types=torch.tensor([[0, 0, 0, 1, 1, 1, 1]] * 3),
    )
    compare("visualbert", SMALL["visualbert"], tmp_path, batch)


def uniter_embeddings(encoder: VLEncoder, batch) -> torch.Tensor:
    """UNITER's joint embedding, written down from the released code, on the weights of ``encoder``."""
    weights = encoder.state_dict()

    def take(name):
        return weights[f"embeddings.{name}.weight"]

    def norm(value, name):
        return functional.layer_norm(value, value.shape[-1:], take(name), weights[f"embeddings.{name}.bias"], 1e-12)

    def linear(value, name):
        return value @ take(name).T + weights[f"embeddings.{name}.bias"]

    text = take("text.words")[batch.input_ids] + take("text.positions")[: batch.input_ids.shape[1]]
    text = norm(text + take("text.types")[0], "text.norm")
    features = batch.features.clone()
    if batch.masked_regions is not None:
        features[batch.masked_regions] = take("masked_feature")[0]
    x1, y1, x2, y2 = batch.boxes.unbind(-1)
    location = torch.stack([x1, y1, x2, y2, x2 - x1, y2 - y1, (x2 - x1) * (y2 - y1)], dim=-1)
    vision = norm(linear(features, "features"), "features_norm") + norm(linear(location, "location"), "location_norm")
    return torch.cat([text, norm(vision + take("text.types")[1], "norm")], dim=1)


@pytest.mark.parametrize("masks_regions", [False, True])
@torch.no_grad()
def test_uniter_equals_a_bert_encoder_fed_its_embeddings(masks_regions, tmp_path):
    sizes = SMALL["bert"]
    torch.manual_seed(0)
    peer = shaken(BARE["bert"](config_of("bert", sizes)))
    peer.save_pretrained(tmp_path)
    encoder = shaken(build("uniter", **sizes.ours()))
    report = load_weights(encoder, tmp_path, strict=False)
    assert report.unexpected == ()
    assert {name.split(".")[1] for name in report.missing} == {
        "features",
        "features_norm",
        "location",
        "location_norm",
        "masked_feature",
        "norm",
    }
    batch = random_batch(feature_width=sizes.feature_width)
    if masks_regions:
        batch = replace(batch, masked_regions=torch.tensor([[True, False, False, True, False, False]] * 3))
    mask = torch.cat([batch.text_mask, batch.region_mask], dim=1)
    bias = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)[:, None, None, :]
    states, expected = uniter_embeddings(encoder, batch), {}
    expected[Site("joint", -1, "joint")] = states
    for index, layer in enumerate(peer.encoder.layer):
        attended, weights = layer.attention(states, bias)
        states = layer.output(layer.intermediate(attended), attended)
        expected[Site("joint", index, "joint", "joint")], expected[Site("joint", index, "joint")] = weights, states
    trace = record(encoder, batch)
    assert_equal({**trace.hidden, **trace.attention}, expected)
    torch.testing.assert_close(encoder(batch).pooled, peer.pooler(states), rtol=0, atol=1e-5)
