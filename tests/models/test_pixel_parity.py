"""Our pixel models against transformers' ViLT and timm's backbones on the same random weights."""

from dataclasses import replace

import pytest
import timm
import torch
import transformers
from torch.nn import functional

from tests.models.examples import SMALL, VOCAB, pixel_batch, small_encoder
from tests.models.peers import config_of, shaken
from tests.models.test_parity import Sizes, assert_equal
from vlp.models import build, load_weights
from vlp.observe import Site, record

GRIDS = {
    "of one size": ((3, 3), (3, 3), (3, 3)),
    "of several sizes": ((2, 5), (4, 2), (3, 3)),
    "one row high": ((1, 6), (1, 2), (1, 3)),
}


def vilt_of_transformers(sizes: Sizes, image_size: int, patch: int) -> transformers.ViltModel:
    """A peer whose positions and class token are not zero, as new ones are."""
    torch.manual_seed(0)
    config = transformers.ViltConfig(
        **sizes.common(), num_hidden_layers=sizes.layers[0], image_size=image_size, patch_size=patch
    )
    peer = shaken(transformers.ViltModel(config))
    for parameter in (peer.embeddings.cls_token, peer.embeddings.position_embeddings):
        torch.nn.init.normal_(parameter)
    return peer


@torch.no_grad()
def vilt_activations(peer, batch) -> tuple[transformers.utils.ModelOutput, torch.Tensor]:
    """The peer's output, and row and column (B, K, 2) of its patches, which stand in a random order."""
    embed, places = peer.embeddings.visual_embed, []

    def listening(*args, **kwargs):
        found = embed(*args, **kwargs)
        places.append(found[2][0])
        return found

    peer.embeddings.visual_embed = listening
    out = peer(
        input_ids=batch.input_ids,
        attention_mask=batch.text_mask.long(),
        token_type_ids=batch.token_types,
        pixel_values=batch.pixels,
        pixel_mask=batch.pixel_mask.long(),
        output_attentions=True,
        output_hidden_states=True,
    )
    peer.embeddings.visual_embed = embed
    return out, places[0]


def compare_vilt(sizes, image_size, patch, longest, batch_of, folder):
    peer = vilt_of_transformers(sizes, image_size, patch)
    peer.save_pretrained(folder)
    numbers = {"image_size": image_size, "longest": longest, "patch": patch, "grid": image_size // patch}
    encoder = build("vilt", **sizes.ours(), vilt={**numbers, "positions": sizes.positions})
    report = load_weights(encoder, folder)
    assert (report.missing, report.unexpected, report.source) == ((), (), "huggingface")
    batch = batch_of(encoder)
    trace = record(encoder, batch)
    out, places = vilt_activations(peer, batch)
    length, columns = batch.input_ids.shape[1], batch.pixels.shape[-1] // patch
    for row in range(len(batch)):
        text = torch.arange(int(batch.text_mask[row].sum()))
        heights, widths = (int(batch.pixel_mask[row].any(axis).sum()) // patch for axis in (1, 0))
        real = (places[row, :, 0] < heights) & (places[row, :, 1] < widths)
        assert real.sum() == heights * widths
        cells = places[row, :, 0] * columns + places[row, :, 1]
        theirs = torch.cat([text, torch.tensor([length]), length + 1 + real.nonzero().squeeze(1)])
        ours = torch.cat([text, torch.tensor([length]), length + 1 + cells[real]])
        found, expected = {}, {}
        for layer, states in enumerate(out.hidden_states):
            site = Site("joint", layer - 1, "joint")
            found[site], expected[site] = trace.hidden[site][row, ours], states[row, theirs]
        for layer, weights in enumerate(out.attentions):
            site = Site("joint", layer, "joint", "joint")
            found[site] = trace.attention[site][row][:, ours][:, :, ours]
            expected[site] = weights[row][:, theirs][:, :, theirs]
        assert len(found) == len(trace.hidden) + len(trace.attention)
        assert_equal(found, expected)
        encoding = encoder(batch)
        states = torch.cat([encoding.text[row], torch.zeros(1, encoder.width), encoding.vision[row]])[ours]
        difference = (states - out.last_hidden_state[row, theirs]).abs().amax(-1)
        assert difference[theirs != length].max() <= 1e-5 * out.last_hidden_state.abs().max()
        torch.testing.assert_close(encoding.pooled[row], out.pooler_output[row], rtol=0, atol=1e-5)


@pytest.mark.parametrize("grids", GRIDS.values(), ids=GRIDS)
def test_every_state_and_map_of_vilt_equals_transformers(grids, tmp_path):
    sizes = Sizes((4,))

    def batch_of(encoder):
        return pixel_batch(replace(encoder.pixel_input, shortest=8, longest=48), grids=grids, vocab=sizes.vocab)

    compare_vilt(sizes, 32, 8, 48, batch_of, tmp_path)


@pytest.mark.slow
def test_every_state_and_map_of_vilt_equals_transformers_at_base(tmp_path):
    numbers = {"width": 768, "heads": 12, "feed_forward": 3072, "positions": 40, "vocab": 30522}

    def batch_of(encoder):
        return pixel_batch(encoder.pixel_input, (20, 13), ((12, 12), (12, 19)), vocab=30522)

    compare_vilt(Sizes((12,), **numbers), 384, 32, 639, batch_of, tmp_path)


@torch.no_grad()
def assert_joint_equals_bert(name, batch, vision_of):
    """A post-norm model against transformers' BERT, fed the text it embeds itself and what ``vision_of`` gives.

    ``vision_of`` takes the encoder and returns the visual embedding (B, V, D) and its mask, worked out independently.
    """
    sizes = Sizes((SMALL["layers"],), SMALL["width"], SMALL["heads"], SMALL["feed_forward"], SMALL["positions"], VOCAB)
    encoder = small_encoder(name)
    peer = shaken(transformers.BertModel(config_of("bert", sizes)))
    stack, embeddings = encoder.stack, encoder.embeddings
    for layer, theirs in zip(stack.layers, peer.encoder.layer, strict=True):
        attention = theirs.attention
        pairs = (
            (layer.attention.query, attention.self.query),
            (layer.attention.key, attention.self.key),
            (layer.attention.value, attention.self.value),
            (layer.attention.output, attention.output.dense),
            (layer.attention.norm, attention.output.LayerNorm),
            (layer.feed_forward.expand, theirs.intermediate.dense),
            (layer.feed_forward.contract, theirs.output.dense),
            (layer.feed_forward.norm, theirs.output.LayerNorm),
        )
        for ours, other in pairs:
            other.load_state_dict(ours.state_dict())
    for ours, other in (
        (embeddings.text.words, peer.embeddings.word_embeddings),
        (embeddings.text.positions, peer.embeddings.position_embeddings),
        (embeddings.text.types, peer.embeddings.token_type_embeddings),
        (embeddings.text.norm, peer.embeddings.LayerNorm),
    ):
        other.load_state_dict(ours.state_dict())
    vision, vision_mask = vision_of(encoder)
    states = torch.cat([peer.embeddings(batch.input_ids, batch.token_types), vision], dim=1)
    mask = torch.cat([batch.text_mask, vision_mask], dim=1)
    bias = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)[:, None, None, :]
    expected = {Site("joint", -1, "joint"): states}
    for index, layer in enumerate(peer.encoder.layer):
        attended, weights = layer.attention(states, bias)
        states = layer.output(layer.intermediate(attended), attended)
        expected[Site("joint", index, "joint", "joint")], expected[Site("joint", index, "joint")] = weights, states
    trace = record(encoder, batch)

    def real(activations):
        """Of maps the rows of real queries, of states the real tokens."""
        by_token = {site: value.transpose(1, 2) if site.is_attention else value for site, value in activations.items()}
        return {site: value[mask] for site, value in by_token.items()}

    assert_equal(real({**trace.hidden, **trace.attention}), real(expected))
    torch.testing.assert_close(encoder(batch).pooled, states[:, 0], rtol=0, atol=1e-5)


def sine(count: int, width: int) -> torch.Tensor:
    """One coordinate's positions (count, width), number by number."""
    values = torch.zeros(count, width)
    for place in range(count):
        for channel in range(width):
            angle = (place + 1) / (count + 1e-6) * 2 * torch.pi / 10000 ** (2 * (channel // 2) / width)
            values[place, channel] = torch.tensor(angle).cos() if channel % 2 else torch.tensor(angle).sin()
    return values


def grid_positions(rows: int, columns: int, width: int) -> torch.Tensor:
    vertical, horizontal = sine(rows, width // 2), sine(columns, width // 2)
    return torch.stack([torch.cat([vertical[r], horizontal[c]]) for r in range(rows) for c in range(columns)])


def test_the_swin_parsed_model_equals_timm_then_a_bert_encoder():
    batch = pixel_batch(small_encoder("swin_vlp").pixel_input)

    def vision_of(encoder):
        swin = timm.create_model(
            "swin_tiny_patch4_window7_224",
            num_classes=0,
            img_size=16,
            window_size=2,
            embed_dim=16,
            depths=(1, 1),
            num_heads=(1, 2),
        ).eval()
        swin.load_state_dict(encoder.embeddings.parser.network.state_dict())
        features = swin.forward_features(batch.pixels).flatten(1, 2)
        projected = encoder.embeddings.features(features)
        norm = encoder.embeddings.norm
        summed = projected + grid_positions(2, 2, encoder.width)
        vision = functional.layer_norm(summed, (encoder.width,), norm.weight, norm.bias, 1e-12)
        return vision, torch.ones(3, 4, dtype=torch.bool)

    assert_joint_equals_bert("swin_vlp", batch, vision_of)


def test_soho_equals_timm_its_formulas_image_by_image_then_a_bert_encoder():
    batch = replace(pixel_batch(small_encoder("soho").pixel_input), pivots=torch.tensor([0.3, torch.nan, 0.9]))

    def one_image(encoder, pixels, pivot):
        own, width = encoder.embeddings, encoder.width
        resnet = timm.create_model("resnet18", channels=(8, 8, 8, 8), layers=(1, 1, 1, 1)).eval()
        resnet.load_state_dict(own.parser.network.state_dict(), strict=False)
        stem = resnet.maxpool(resnet.act1(resnet.bn1(resnet.conv1(pixels[None]))))
        pooled = functional.max_pool2d(resnet.layer1(stem), 2, 2)
        rows, columns = pooled.shape[-2:]
        bn = own.features_norm
        features = pooled[0].permute(1, 2, 0).flatten(0, 1) @ own.features.weight.T
        features = (features - bn.running_mean) / (bn.running_var + 1e-5).sqrt() * bn.weight + bn.bias
        numbers = torch.cdist(features, own.dictionary.entries).argmin(1)
        entries = own.dictionary.entries[numbers]
        share = own.gate(torch.cat([entries, features], dim=1)).softmax(1)
        cells = share[:, :1] * own.entry(entries) + share[:, 1:] * features
        if pivot == pivot:
            cells[numbers == numbers[int(pivot * len(numbers))]] = own.masked_cell.weight[0]
        cells = cells + grid_positions(rows, columns, width)
        return functional.layer_norm(cells, (width,), own.norm.weight, own.norm.bias, 1e-12), (rows, columns)

    def vision_of(encoder):
        height, width = (side // 8 for side in batch.pixels.shape[-2:])
        vision, mask = torch.zeros(3, height, width, encoder.width), torch.zeros(3, height, width, dtype=torch.bool)
        for row in range(3):
            rows, columns = batch.pixel_mask[row].any(1).sum(), batch.pixel_mask[row].any(0).sum()
            cells, (high, wide) = one_image(encoder, batch.pixels[row, :, :rows, :columns], batch.pivots[row].item())
            vision[row, :high, :wide] = cells.unflatten(0, (high, wide))
            mask[row, :high, :wide] = True
        return vision.flatten(1, 2), mask.flatten(1)

    assert_joint_equals_bert("soho", batch, vision_of)
