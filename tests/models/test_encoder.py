"""One contract for every option of ``conf/model``; a new model cannot opt out."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from tests.models.examples import FEATURE_WIDTH, MODELS, POSITIONS, VOCAB, permuted, random_batch, rows, small_encoder
from vlp.models.blocks import Attention
from vlp.observe import Reducing, record

LENGTHS, REGIONS = (7, 4, 5), (5, 2, 6)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}

pytestmark = pytest.mark.parametrize("name", MODELS)


def batch():
    return random_batch(LENGTHS, REGIONS)


@torch.no_grad()
def test_states_have_the_model_s_width_and_the_batch_s_lengths(name):
    encoder = small_encoder(name)
    encoding = encoder(batch())
    assert encoding.text.shape == (3, 7, encoder.width)
    assert encoding.pooled.shape == (3, encoder.width)
    if encoder.feature_width is None:
        assert encoding.vision is None
    else:
        assert encoding.vision.shape == (3, 6, encoder.width)


def test_every_parameter_that_the_output_depends_on_gets_a_gradient(name):
    encoder = small_encoder(name).train()
    masked = replace(batch(), masked_regions=random_batch(LENGTHS, REGIONS).region_mask)
    encoding = encoder(masked)
    total = encoding.pooled.square().sum() + encoding.text.square().sum()
    if encoding.vision is not None:
        total = total + encoding.vision.square().sum()
    total.backward()
    without = [key for key, parameter in encoder.named_parameters() if parameter.grad is None]
    assert without == []
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


@torch.no_grad()
def test_padding_changes_nothing(name):
    encoder, padded = small_encoder(name), batch()
    together = encoder(padded)
    for row, (length, count) in enumerate(zip(LENGTHS, REGIONS, strict=True)):
        alone = encoder(rows(padded, row, length, count))
        torch.testing.assert_close(together.text[row, :length], alone.text[0], **CLOSE)
        torch.testing.assert_close(together.pooled[row], alone.pooled[0], **CLOSE)
        if together.vision is not None:
            torch.testing.assert_close(together.vision[row, :count], alone.vision[0], **CLOSE)


@torch.no_grad()
def test_what_stands_in_the_padding_changes_nothing(name):
    encoder, first = small_encoder(name), batch()
    second = replace(
        first,
        input_ids=torch.where(first.text_mask, first.input_ids, 3),
        features=torch.where(first.region_mask[..., None], first.features, 1e4),
    )
    torch.testing.assert_close(encoder(first).pooled, encoder(second).pooled, **CLOSE)


@torch.no_grad()
def test_regions_have_no_order(name):
    encoder, given = small_encoder(name), batch()
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    before, after = encoder(given), encoder(permuted(given, order))
    torch.testing.assert_close(before.text[given.text_mask], after.text[given.text_mask], **CLOSE)
    if before.vision is not None:
        real = given.region_mask[:, order]
        torch.testing.assert_close(before.vision[:, order][real], after.vision[real], **CLOSE)


@torch.no_grad()
def test_observed_and_fused_attention_agree(name):
    encoder, given = small_encoder(name), batch()
    fused, observed = encoder(given), encoder(given, [Everything()])
    torch.testing.assert_close(fused.text, observed.text, **CLOSE)
    torch.testing.assert_close(fused.pooled, observed.pooled, **CLOSE)


@torch.no_grad()
def test_only_watched_blocks_leave_fused_attention(name, monkeypatch):
    calls, fused = [], functional.scaled_dot_product_attention
    monkeypatch.setattr(
        functional, "scaled_dot_product_attention", lambda *args, **kwargs: calls.append(1) or fused(*args, **kwargs)
    )
    encoder = small_encoder(name)
    encoder(batch())
    assert len(calls) == len(encoder.attention_sites)
    calls.clear()
    encoder(batch(), [Reducing(encoder.attention_sites[:1], lambda site, weights: weights.sum())])
    assert len(calls) == len(encoder.attention_sites) - 1


def test_gradients_agree_whichever_path_attention_takes(name):
    gradients = []
    for observers in ([], [Everything()]):
        encoder = small_encoder(name)
        encoder(batch(), observers).pooled.square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


def test_every_site_is_seen_once_in_the_order_listed(name):
    encoder, seen = small_encoder(name), Everything()
    encoder(batch(), [seen])
    assert tuple(seen.sites) == encoder.sites
    assert set(encoder.attention_sites) | set(encoder.hidden_sites) == set(encoder.sites)


def test_attention_rows_sum_to_one_and_give_padding_nothing(name):
    encoder, given = small_encoder(name), batch()
    for site, weights_BHQK in record(encoder, given).attention.items():
        valid_BK, _ = encoder.stream_masks(given, site.key)
        valid_BQ, _ = encoder.stream_masks(given, site.query)
        assert weights_BHQK.shape == (3, encoder.num_heads, valid_BQ.shape[1], valid_BK.shape[1])
        torch.testing.assert_close(weights_BHQK.sum(-1), torch.ones_like(weights_BHQK[..., 0]))
        assert weights_BHQK.masked_select(~valid_BK[:, None, None, :]).count_nonzero() == 0


def test_the_last_hidden_states_are_the_encoding(name):
    encoder, given = small_encoder(name), batch()
    encoding, hidden = encoder(given), record(encoder, given).hidden
    last = {site.query: states for site, states in hidden.items()}
    joint = last.get("joint", last.get("text"))
    torch.testing.assert_close(joint[:, :7], encoding.text, **CLOSE)
    if encoding.vision is not None:
        torch.testing.assert_close(
            last["joint"][:, 7:] if "joint" in last else last["vision"], encoding.vision, **CLOSE
        )


@torch.no_grad()
def test_eval_has_no_randomness_and_training_has(name):
    encoder, given = small_encoder(name), batch()
    assert torch.equal(encoder(given).pooled, encoder(given).pooled)
    encoder.train()
    assert not torch.equal(encoder(given).pooled, encoder(given).pooled)


@torch.no_grad()
def test_attention_in_training_is_seen_before_dropout(name):
    encoder, given = small_encoder(name, attention_dropout=0.5, dropout=0.0).train(), batch()
    before = record(small_encoder(name).eval(), given).attention
    seen = Everything()
    encoder(given, [seen])
    first = encoder.attention_sites[0]
    torch.testing.assert_close(seen.values[first], before[first], **CLOSE)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(name):
    first, second, third = small_encoder(name, 0), small_encoder(name, 0), small_encoder(name, 1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first.parameters(), third.parameters(), strict=True))


@torch.no_grad()
def test_the_state_dict_is_the_whole_model(name):
    first, second = small_encoder(name, 0), small_encoder(name, 1)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(batch()).pooled, second(batch()).pooled)


def test_a_caption_longer_than_the_positions_is_refused(name):
    with pytest.raises(ValueError) as error:
        small_encoder(name)(random_batch((POSITIONS + 1, 3), (2, 2)))
    assert str(error.value) == (
        f"{name} has {POSITIONS} positions, the longest caption of the batch has {POSITIONS + 1} word pieces"
    )


@torch.no_grad()
def test_bfloat16_autocast_stays_near_and_finite(name):
    encoder, given = small_encoder(name), batch()
    with torch.autocast("cpu", torch.bfloat16):
        fused, seen = encoder(given), Everything()
        observed = encoder(given, [seen])
    for encoding in (fused, observed):
        torch.testing.assert_close(encoding.pooled.float(), encoder(given).pooled, rtol=0, atol=0.15)
    assert all(seen.values[site].dtype == torch.float32 for site in encoder.attention_sites)


def test_what_it_says_of_itself_is_so(name):
    encoder = small_encoder(name)
    assert (encoder.name, encoder.vocab_size, encoder.max_positions) == (name, VOCAB, POSITIONS)
    assert encoder.word_embeddings.weight.shape == (VOCAB, encoder.width)
    assert encoder.feature_width in (None, FEATURE_WIDTH)
    assert not encoder.training
    attention = next(part for part in encoder.modules() if isinstance(part, Attention))
    assert encoder.num_heads == attention.heads


def test_stream_masks_are_text_then_vision(name):
    encoder, given = small_encoder(name), batch()
    text, text_is_vision = encoder.stream_masks(given, "text")
    assert torch.equal(text, given.text_mask)
    assert not text_is_vision.any()
    joint, is_vision = encoder.stream_masks(given, "joint")
    if encoder.feature_width is None:
        assert torch.equal(joint, given.text_mask)
        with pytest.raises(ValueError) as error:
            encoder.stream_masks(given, "vision")
        assert str(error.value) == f"{name} has no stream 'vision' here, expected one of text, joint"
    else:
        assert torch.equal(joint, torch.cat([given.text_mask, given.region_mask], dim=1))
        assert is_vision.tolist() == [[False] * 7 + [True] * 6] * 3
        assert encoder.stream_masks(given, "vision")[1].all()


class TestImages:
    """Region models refuse a batch without an image they can read; the text-only control ignores it."""

    def test_no_image(self, name):
        encoder = small_encoder(name)
        if encoder.feature_width is None:
            assert torch.equal(encoder(batch()).text, encoder(batch().text_only()).text)
            return
        with pytest.raises(ValueError) as error:
            encoder(batch().text_only())
        assert str(error.value) == f"{name} reads region features, boxes and a region mask; the batch has no image"

    def test_features_of_another_width(self, name):
        encoder, given = small_encoder(name), random_batch(feature_width=7)
        if encoder.feature_width is None:
            assert encoder(given).vision is None
            return
        with pytest.raises(ValueError) as error:
            encoder(given)
        assert str(error.value) == (
            f"{name} was built for region features {FEATURE_WIDTH} wide, the batch's are 7 wide"
        )

    def test_a_row_without_regions(self, name):
        encoder, given = small_encoder(name), random_batch((3, 3), (2, 0))
        if encoder.feature_width is None:
            assert encoder(given).vision is None
            return
        with pytest.raises(ValueError) as error:
            encoder(given)
        assert str(error.value) == (
            f"image without regions: row 1 of the batch has no real region, {name} needs at least 1"
        )

    @torch.no_grad()
    def test_a_hidden_feature_is_not_seen(self, name):
        encoder, given = small_encoder(name), batch()
        hidden = given.region_mask & (torch.arange(6) == 1)
        others = torch.where(hidden[..., None], torch.randn_like(given.features), given.features)
        first = encoder(replace(given, masked_regions=hidden))
        second = encoder(replace(given, masked_regions=hidden, features=others))
        assert torch.equal(first.pooled, second.pooled)
        if encoder.feature_width is not None:
            assert not torch.allclose(first.pooled, encoder(given).pooled, atol=1e-4)


class Everything:
    """Wants every site, keeps what it saw."""

    def __init__(self):
        self.sites, self.values = [], {}

    def wants(self, site):
        return True

    def observe(self, site, value):
        self.sites.append(site)
        self.values[site] = value.clone()
