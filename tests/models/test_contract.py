"""One contract for every option of ``conf/model``; a new model cannot opt out."""

import shutil
from dataclasses import fields, replace

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.nn import functional

from tests.models.examples import (
    FEATURE_WIDTH,
    MODELS,
    POSITIONS,
    VOCAB,
    alone,
    batch_for,
    permuted,
    random_batch,
    small_encoder,
)
from vlp.models.blocks import Attention
from vlp.observe import Reducing, record

LENGTHS = (7, 4, 5)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}

READS = {name: small_encoder(name).reads for name in MODELS}
REGION_MODELS = [name for name in MODELS if READS[name] == "regions"]
PIXEL_MODELS = [name for name in MODELS if READS[name] == "pixels"]

every_model = pytest.mark.parametrize("name", MODELS)


def every_state(encoding):
    """The encoding's tensors by name; padding among them."""
    parts = {"text": encoding.text, "vision": encoding.vision, "pooled": encoding.pooled}
    return {name: part for name, part in parts.items() if part is not None}


def real_states(encoder, encoding, batch):
    """The encoding's tensors at real tokens, (N, D), by name."""
    states = {"text": encoding.text[batch.text_mask]}
    if encoding.vision is not None:
        real = encoder.embeddings.without_global(encoder.embeddings.vision_mask(batch))
        states["vision"] = encoding.vision[real]
    if encoding.pooled is not None:
        states["pooled"] = encoding.pooled
    return states


def assert_states_close(found, expected, **tolerance):
    assert set(found) == set(expected)
    for name, states in expected.items():
        torch.testing.assert_close(found[name], states, **(tolerance or CLOSE))


def hiding(batch):
    """The same batch with something of every image hidden."""
    if batch.pixels is not None:
        return replace(batch, pivots=torch.tensor([0.1, 0.5, 0.9]), num_hidden=2)
    return replace(batch, masked_regions=batch.region_mask & (torch.arange(6) == 1))


def dropout_and_batch_statistics_off(encoder):
    """What differs between training and evaluation apart from attention's dropout."""
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eval()
    return encoder


@every_model
@torch.no_grad()
def test_states_have_the_model_s_widths_and_the_batch_s_lengths(name):
    encoder = small_encoder(name)
    given = batch_for(encoder)
    encoding = encoder(given)
    assert encoding.text.shape == (3, 7, encoder.width)
    if encoder.pooler is None:
        assert encoding.pooled is None
    else:
        assert encoding.pooled.shape == (3, encoder.pooled_width)
    if READS[name] == "text":
        assert encoding.vision is None
    else:
        real = encoder.embeddings.without_global(encoder.embeddings.vision_mask(given))
        assert encoding.vision.shape == (*real.shape, encoder.vision_width)


@every_model
def test_every_parameter_that_the_output_depends_on_gets_a_gradient(name):
    encoder = small_encoder(name).train()
    encoding = encoder(hiding(batch_for(encoder)))
    torch.stack([part.square().sum() for part in every_state(encoding).values()]).sum().backward()
    without = [key for key, parameter in encoder.named_parameters() if parameter.grad is None]
    assert without == []
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


@pytest.mark.parametrize("name", REGION_MODELS + PIXEL_MODELS)
def test_what_an_image_shows_can_be_learned_at_the_first_token(name):
    encoder = small_encoder(name, dropout=0.0, attention_dropout=0.0).train()
    given = batch_for(encoder, (4, 4, 4))
    given.input_ids[:] = given.input_ids[0]  # one caption: only the images differ
    head = nn.Linear(encoder.width, 3)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(60):
        loss = functional.cross_entropy(head(encoder(given).text[:, 0]), torch.arange(3))
        if loss < 0.1:
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pytest.fail(f"after 60 steps the loss is {loss.item():.3f}")


@every_model
@torch.no_grad()
def test_padding_and_batching_change_nothing(name):
    encoder = small_encoder(name)
    padded = batch_for(encoder)
    together = encoder(padded)
    for row in range(3):
        single = alone(padded, row)
        expected = real_states(encoder, encoder(single), single)
        mask = {"text": padded.text_mask[row]}
        if together.vision is not None:
            mask["vision"] = encoder.embeddings.without_global(encoder.embeddings.vision_mask(padded))[row]
        for part, states in expected.items():
            found = every_state(together)[part][row]
            torch.testing.assert_close(found[mask[part]] if part in mask else found[None], states, **CLOSE)


@every_model
@torch.no_grad()
def test_what_stands_in_the_padding_changes_nothing(name):
    encoder = small_encoder(name)
    first = batch_for(encoder)
    second = replace(first, input_ids=torch.where(first.text_mask, first.input_ids, 3))
    if first.pixels is None:
        second.features = torch.where(first.region_mask[..., None], first.features, 1e4)
    else:
        second.pixels = torch.where(first.pixel_mask[:, None], first.pixels, 1e4)
    found, expected = (real_states(encoder, encoder(batch), batch) for batch in (second, first))
    assert_states_close(found, expected)


@pytest.mark.parametrize("name", [name for name in MODELS if READS[name] != "pixels"])
@torch.no_grad()
def test_regions_have_no_order(name):
    encoder = small_encoder(name)
    given, order = batch_for(encoder), torch.tensor([4, 0, 5, 2, 1, 3])
    moved = permuted(given, order)
    before, after = encoder(given), encoder(moved)
    torch.testing.assert_close(before.text[given.text_mask], after.text[given.text_mask], **CLOSE)
    if before.vision is not None:
        real = given.region_mask[:, order]
        torch.testing.assert_close(before.vision[:, order][real], after.vision[real], **CLOSE)


@pytest.mark.parametrize("name", PIXEL_MODELS)
@torch.no_grad()
def test_cells_have_a_place(name):
    encoder = small_encoder(name)
    given = batch_for(encoder)
    side = encoder.pixel_input.multiple
    moved = replace(given, pixels=given.pixels.roll(side, dims=-1))
    row = 0  # as wide as a row of the batch can be, or all are square
    assert given.pixel_mask[row, 0].sum() >= 2 * side
    assert not torch.allclose(encoder(given).text[row], encoder(moved).text[row], atol=1e-4)


@every_model
@torch.no_grad()
def test_observed_and_fused_attention_agree(name):
    encoder = small_encoder(name)
    given = batch_for(encoder)
    fused, observed = encoder(given), encoder(given, [Everything()])
    assert_states_close(every_state(fused), every_state(observed))


@every_model
@torch.no_grad()
def test_only_watched_blocks_leave_fused_attention(name, monkeypatch):
    calls, fused = [], functional.scaled_dot_product_attention
    monkeypatch.setattr(
        functional, "scaled_dot_product_attention", lambda *args, **kwargs: calls.append(1) or fused(*args, **kwargs)
    )
    encoder = small_encoder(name)
    encoder.embeddings(batch_for(encoder))
    of_the_parser = len(calls)
    encoder(batch_for(encoder))
    assert len(calls) == 2 * of_the_parser + len(encoder.attention_sites)
    calls.clear()
    encoder(batch_for(encoder), [Reducing(encoder.attention_sites[:1], lambda site, weights: weights.sum())])
    assert len(calls) == of_the_parser + len(encoder.attention_sites) - 1


@every_model
def test_gradients_agree_whichever_path_attention_takes(name):
    gradients = []
    for observers in ([], [Everything()]):
        encoder = small_encoder(name)
        encoding = encoder(batch_for(encoder), observers)
        encoding.text[:, 0].square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-4)


@every_model
def test_every_site_is_seen_once_in_the_order_listed(name):
    encoder, seen = small_encoder(name), Everything()
    encoder(batch_for(encoder), [seen])
    assert tuple(seen.sites) == encoder.sites
    assert set(encoder.attention_sites) | set(encoder.hidden_sites) == set(encoder.sites)


@every_model
def test_attention_rows_sum_to_one_and_give_padding_nothing(name):
    encoder = small_encoder(name)
    given = batch_for(encoder)
    embedded = encoder.embeddings(given)
    attended = {"text": embedded.text_mask, "vision": embedded.vision_mask}
    if embedded.vision_mask is not None:
        attended["joint"] = torch.cat([embedded.text_mask, embedded.vision_mask], dim=1)
    for site, weights_BHQK in record(encoder, given).attention.items():
        real_BK, num_queries = attended[site.key], attended[site.query].shape[1]
        assert weights_BHQK.shape == (3, encoder.heads_of[site], num_queries, real_BK.shape[1])
        torch.testing.assert_close(weights_BHQK.sum(-1), torch.ones_like(weights_BHQK[..., 0]))
        assert weights_BHQK.masked_select(~real_BK[:, None, None, :]).count_nonzero() == 0
        assert (weights_BHQK > 0).any(dim=-2).logical_or(~real_BK[:, None, :]).all()


@every_model
def test_the_last_hidden_states_are_the_encoding(name):
    encoder = small_encoder(name)
    given = batch_for(encoder)
    encoding, hidden = encoder(given), record(encoder, given).hidden
    last = {site.query: states for site, states in hidden.items()}
    joint = last.get("joint", last.get("text"))
    norm = getattr(encoder.stack, "norm", nn.Identity())  # of layers that begin with theirs
    torch.testing.assert_close(norm(joint)[:, :7], encoding.text, **CLOSE)
    if encoding.vision is not None:
        vision = norm(joint)[:, 7:] if "joint" in last else last["vision"]
        torch.testing.assert_close(encoder.embeddings.without_global(vision), encoding.vision, **CLOSE)


@every_model
@torch.no_grad()
def test_eval_has_no_randomness_and_training_has(name):
    encoder = small_encoder(name)
    given = hiding(batch_for(encoder))
    first, second = every_state(encoder(given)), every_state(encoder(given))
    assert all(torch.equal(states, second[part]) for part, states in first.items())
    encoder.train()
    assert not torch.equal(encoder(given).text, encoder(given).text)


@every_model
@torch.no_grad()
def test_batch_statistics_are_of_the_whole_batch_whatever_the_sizes_of_its_images(name):
    encoder = small_encoder(name).train()
    encoder(batch_for(encoder))
    steps = [buffer for key, buffer in encoder.named_buffers() if key.endswith("num_batches_tracked")]
    assert all(count == 1 for count in steps)


@every_model
@torch.no_grad()
def test_attention_in_training_is_seen_before_dropout(name):
    encoder = small_encoder(name, attention_dropout=0.5, dropout=0.0).train()
    given, seen = batch_for(encoder), Everything()
    dropout_and_batch_statistics_off(encoder)(given, [seen])
    before = record(small_encoder(name).eval(), given).attention
    first = encoder.attention_sites[0]
    torch.testing.assert_close(seen.values[first], before[first], **CLOSE)


@every_model
def test_the_same_seed_gives_the_same_weights_and_another_does_not(name):
    first, second, third = small_encoder(name, 0), small_encoder(name, 0), small_encoder(name, 1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first.parameters(), third.parameters(), strict=True))


@every_model
@torch.no_grad()
def test_the_state_dict_is_the_whole_model(name):
    first, second = small_encoder(name, 0), small_encoder(name, 1)
    given = batch_for(first)
    second.load_state_dict(first.state_dict())
    expected = every_state(first(given))
    assert all(torch.equal(states, expected[part]) for part, states in every_state(second(given)).items())


@every_model
@torch.no_grad()
def test_capturing_for_compilation_changes_nothing(name):
    encoder = small_encoder(name)
    given = batch_for(encoder)
    compiled = torch.compile(encoder, backend="eager")
    assert_states_close(every_state(compiled(given)), every_state(encoder(given)))


@pytest.fixture(scope="module")
def compiled_code(tmp_path_factory):
    """A folder of its own for what is compiled, shared by the models since the headers take longest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="inductor needs a C++ compiler")
@every_model
@torch.no_grad()
def test_compiling_changes_nothing(name, compiled_code):
    torch.compiler.reset()
    counters.clear()
    encoder = small_encoder(name, **dict.fromkeys(("layers", "text_layers", "vision_layers", "cross_layers"), 1))
    compiled = torch.compile(encoder, backend="inductor", dynamic=True)
    for lengths in (LENGTHS, (3, 9, 8)):
        given = batch_for(encoder, lengths)
        assert_states_close(every_state(compiled(given)), every_state(encoder(given)))
    assert counters["inductor"]["fxgraph_cache_miss"] > 0


@every_model
def test_a_caption_longer_than_the_positions_is_refused(name):
    encoder = small_encoder(name)
    assert encoder.max_positions <= POSITIONS
    with pytest.raises(ValueError) as error:
        encoder(batch_for(encoder, (encoder.max_positions + 1, 3, 3)))
    assert str(error.value) == (
        f"{name} has {encoder.max_positions} positions, "
        f"the longest caption of the batch has {encoder.max_positions + 1} word pieces"
    )


@every_model
@torch.no_grad()
def test_bfloat16_autocast_stays_near_and_finite(name):
    encoder = small_encoder(name)
    given = batch_for(encoder)
    with torch.autocast("cpu", torch.bfloat16):
        fused, seen = encoder(given), Everything()
        observed = encoder(given, [seen])
    expected = real_states(encoder, encoder(given), given)
    for encoding in (fused, observed):
        for part, states in real_states(encoder, encoding, given).items():
            error = (states.float() - expected[part]).square().mean().sqrt() / expected[part].square().mean().sqrt()
            assert error < 0.05, part
    assert all(seen.values[site].dtype == torch.float32 for site in encoder.attention_sites)


@every_model
def test_what_it_says_of_itself_is_so(name):
    encoder = small_encoder(name)
    assert (encoder.name, encoder.vocab_size) == (name, VOCAB)
    assert encoder.word_embeddings.weight.shape == (VOCAB, encoder.width)
    assert encoder.feature_width == (FEATURE_WIDTH if encoder.reads == "regions" else None)
    assert (encoder.pixel_input is not None) == (encoder.reads == "pixels")
    assert not encoder.training
    heads = {part.heads for part in encoder.stack.modules() if isinstance(part, Attention)}
    assert set(encoder.heads_of.values()) == heads
    assert set(encoder.heads_of) == set(encoder.attention_sites)


@every_model
def test_stream_masks_are_text_then_vision(name):
    encoder = small_encoder(name)
    given = batch_for(encoder)
    text, text_is_vision = encoder.stream_masks(given, "text")
    assert torch.equal(text, given.text_mask)
    assert not text_is_vision.any()
    joint, is_vision = encoder.stream_masks(given, "joint")
    if encoder.reads == "text":
        assert torch.equal(joint, given.text_mask)
        with pytest.raises(ValueError) as error:
            encoder.stream_masks(given, "vision")
        assert str(error.value) == f"{name} has no stream 'vision' here, expected one of text, joint"
        return
    vision, everywhere = encoder.stream_masks(given, "vision")
    assert everywhere.all()
    assert torch.equal(joint, torch.cat([given.text_mask, vision], dim=1))
    assert torch.equal(is_vision, torch.arange(joint.shape[1]).expand_as(joint) >= 7)
    real = encoder.embeddings.without_global(vision)
    if encoder.reads == "regions":
        assert torch.equal(real, given.region_mask)
    else:
        side = encoder.pixel_input.multiple
        assert real.sum(1).tolist() == (given.pixel_mask.sum((1, 2)) // side**2).tolist()
    assert vision.sum() == real.sum()  # a row for the whole image is no region


@pytest.mark.parametrize("name", REGION_MODELS)
class TestRegions:
    """Region models refuse a batch without an image they can read."""

    def test_no_image(self, name):
        encoder = small_encoder(name)
        with pytest.raises(ValueError) as error:
            encoder(batch_for(encoder).text_only())
        assert str(error.value) == f"{name} reads region features, boxes and a region mask; the batch has no image"

    def test_features_of_another_width(self, name):
        with pytest.raises(ValueError) as error:
            small_encoder(name)(random_batch(feature_width=7))
        assert str(error.value) == (
            f"{name} was built for region features {FEATURE_WIDTH} wide, the batch's are 7 wide"
        )

    def test_a_row_without_regions(self, name):
        with pytest.raises(ValueError) as error:
            small_encoder(name)(random_batch((3, 3), (2, 0)))
        assert str(error.value) == (
            f"image without regions: row 1 of the batch has no real region, {name} needs at least 1"
        )

    @torch.no_grad()
    def test_a_hidden_feature_is_not_seen(self, name):
        encoder = small_encoder(name)
        given = batch_for(encoder)
        hidden = given.region_mask & (torch.arange(6) == 1)
        others = torch.where(hidden[..., None], torch.randn_like(given.features), given.features)
        first = encoder(replace(given, masked_regions=hidden))
        second = encoder(replace(given, masked_regions=hidden, features=others))
        assert torch.equal(first.text, second.text)
        assert not torch.allclose(first.text, encoder(given).text, atol=1e-4)


@pytest.mark.parametrize("name", PIXEL_MODELS)
class TestPixels:
    """Pixel models refuse a batch without an image they can read."""

    def test_no_image(self, name):
        encoder = small_encoder(name)
        with pytest.raises(ValueError) as error:
            encoder(random_batch())
        assert str(error.value) == f"{name} reads pixels and a pixel mask; the batch has no image"

    def test_sides_that_are_no_whole_cells(self, name):
        encoder = small_encoder(name)
        given = batch_for(encoder)
        side = encoder.pixel_input.multiple
        cut = replace(given, pixels=given.pixels[..., :-1, :], pixel_mask=given.pixel_mask[..., :-1, :])
        height, width = cut.pixels.shape[-2:]
        with pytest.raises(ValueError) as error:
            encoder(cut)
        assert str(error.value) == f"{name} reads sides that are multiples of {side}, got {width} x {height}"

    def test_a_row_without_pixels(self, name):
        encoder = small_encoder(name)
        given = batch_for(encoder)
        given.pixel_mask[1] = False
        with pytest.raises(ValueError) as error:
            encoder(given)
        assert str(error.value) == (
            f"image without pixels: row 1 of the batch is padding, {name} needs its image upper left"
        )

    def test_it_does_not_read_regions(self, name):
        encoder = small_encoder(name)
        given, regions = batch_for(encoder), random_batch()
        more = replace(given, features=regions.features, boxes=regions.boxes, region_mask=regions.region_mask)
        assert torch.equal(encoder(given).text, encoder(more).text)


@pytest.mark.parametrize("name", [name for name in MODELS if READS[name] == "text"])
@torch.no_grad()
def test_the_text_only_control_ignores_the_image(name):
    encoder = small_encoder(name)
    given = batch_for(encoder)
    bare = given.text_only()
    assert {f.name for f in fields(bare) if getattr(bare, f.name) is not None} == {
        "input_ids",
        "text_mask",
        "token_types",
    }
    assert torch.equal(encoder(given).text, encoder(bare).text)
    assert encoder(random_batch(feature_width=7)).vision is None


class Everything:
    """Wants every site, keeps what it saw."""

    def __init__(self):
        self.sites, self.values = [], {}

    def wants(self, site):
        return True

    def observe(self, site, value):
        self.sites.append(site)
        self.values[site] = value.clone()
