import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from vlp.models.blocks import Attention, BlockShape, FeedForward, attention_bias, initialise
from vlp.models.observation import Site, Watch

SHAPE = BlockShape(width=8, heads=2, feed_forward=12, dropout=0.0, attention_dropout=0.0)
SITE = Site("joint", 0, "joint", "joint")
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


class Listener:
    def __init__(self):
        self.weights = None

    def wants(self, site):
        return True

    def observe(self, site, value):
        self.weights = value.clone()


def by_hand(attention, states, context, mask):
    """Attention as written in Vaswani et al. 2017, one head and one query at a time."""
    query, key, value = attention.query(states), attention.key(context), attention.value(context)
    mixed = torch.zeros_like(states)
    maps = torch.zeros(len(states), attention.heads, states.shape[1], context.shape[1])
    width = states.shape[-1] // attention.heads
    for row in range(len(states)):
        for head in range(attention.heads):
            part = slice(head * width, (head + 1) * width)
            for token in range(states.shape[1]):
                scores = (key[row, :, part] @ query[row, token, part]) / math.sqrt(width)
                weights = torch.softmax(scores.masked_fill(~mask[row], -torch.inf), dim=0)
                mixed[row, token, part] = weights @ value[row, :, part]
                maps[row, head, token] = weights
    return attention.norm(states + attention.output(mixed)), maps


@pytest.mark.parametrize("is_watched", [False, True])
@torch.no_grad()
def test_attention_is_the_definition(is_watched):
    torch.manual_seed(0)
    attention = Attention(SHAPE).eval()
    states, context = torch.randn(3, 4, 8), torch.randn(3, 5, 8)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False], [False, True, True, True, True]])
    listener = Listener()
    watch = Watch([listener], [SITE]) if is_watched else None
    found = attention(states, context, attention_bias(mask, torch.float32), SITE, watch)
    expected, maps = by_hand(attention, states, context, mask)
    torch.testing.assert_close(found, expected, **CLOSE)
    if is_watched:
        torch.testing.assert_close(listener.weights, maps, **CLOSE)


@torch.no_grad()
def test_a_stream_of_another_width_can_be_read():
    attention = Attention(SHAPE, key_width=6).eval()
    states, context = torch.randn(2, 3, 8), torch.randn(2, 5, 6)
    expected, _ = by_hand(attention, states, context, torch.ones(2, 5, dtype=torch.bool))
    torch.testing.assert_close(attention(states, context, None, SITE, None), expected, **CLOSE)


def test_nothing_padded_needs_no_bias():
    assert attention_bias(torch.ones(2, 3, dtype=torch.bool), torch.float32) is None


@pytest.mark.parametrize("is_watched", [False, True])
@torch.no_grad()
def test_a_row_of_padding_gives_no_nan(is_watched):
    attention, mask = Attention(SHAPE).eval(), torch.tensor([[True, True], [False, False]])
    watch = Watch([Listener()], [SITE]) if is_watched else None
    found = attention(torch.randn(2, 2, 8), None, attention_bias(mask, torch.float32), SITE, watch)
    assert found.isfinite().all()


def test_under_autocast_the_bias_stays_finite():
    with torch.autocast("cpu", torch.bfloat16):
        bias = attention_bias(torch.tensor([[True, False]]), torch.float32)
    assert bias.dtype == torch.bfloat16
    assert bias.flatten().tolist() == [0.0, torch.finfo(torch.bfloat16).min]


@torch.no_grad()
def test_the_norm_stands_before_the_sub_layer_where_asked():
    shape = BlockShape(width=8, heads=2, feed_forward=12, dropout=0.0, pre_norm=True)
    attention, feed_forward, states = Attention(shape).eval(), FeedForward(shape).eval(), torch.randn(2, 3, 8)
    inner = functional.layer_norm(states, (8,), eps=1e-12)
    post = Attention(SHAPE).eval()
    post.load_state_dict(attention.state_dict())
    post.norm = nn.Identity()
    torch.testing.assert_close(
        attention(states, None, None, SITE, None) - states, post(inner, None, None, SITE, None) - inner, **CLOSE
    )
    expected = states + feed_forward.contract(functional.gelu(feed_forward.expand(inner)))
    torch.testing.assert_close(feed_forward(states), expected, **CLOSE)


def test_feed_forward_uses_the_exact_gelu():
    feed_forward = FeedForward(BlockShape(width=1, heads=1, feed_forward=1, dropout=0.0)).eval()
    feed_forward.norm = nn.Identity()
    for layer in (feed_forward.expand, feed_forward.contract):
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
    one = 0.5 * (1 + math.erf(1 / math.sqrt(2)))  # GELU(1) = 0.841345; the tanh approximation gives 0.841192
    assert feed_forward(torch.ones(1, 1, 1)).item() == pytest.approx(1 + one, abs=1e-6)


def test_initial_weights_are_normal_biases_zero_and_norms_neutral():
    torch.manual_seed(0)
    part = nn.Sequential(nn.Linear(300, 300), nn.LayerNorm(300), nn.Embedding(300, 300))
    for parameter in part.parameters():
        parameter.data.fill_(7.0)
    initialise(part, 0.05)
    assert part[0].weight.std().item() == pytest.approx(0.05, rel=0.02)
    assert part[2].weight.std().item() == pytest.approx(0.05, rel=0.02)
    assert part[0].bias.count_nonzero() == part[1].bias.count_nonzero() == 0
    assert (part[1].weight == 1).all()


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError) as error:
        BlockShape(width=10, heads=4, feed_forward=8)
    assert str(error.value) == "width=10 is not a multiple of heads=4"
    with pytest.raises(ValueError) as error:
        BlockShape(width=8, heads=4, feed_forward=8, attention_width=10)
    assert str(error.value) == "attention_width=10 is not a multiple of heads=4"


def test_attention_may_be_wider_than_its_stream():
    torch.manual_seed(0)
    shape = BlockShape(width=8, heads=3, feed_forward=8, attention_width=12)
    attention, states, context = Attention(shape, key_width=5).eval(), torch.randn(2, 3, 8), torch.randn(2, 4, 5)
    query, key, value = attention.query(states), attention.key(context), attention.value(context)
    heads = [slice(4 * head, 4 * head + 4) for head in range(3)]
    maps = [(query[..., head] @ key[..., head].mT / 2).softmax(-1) for head in heads]
    mixed = torch.cat([weights @ value[..., head] for weights, head in zip(maps, heads, strict=True)], dim=-1)
    expected = attention.norm(states + attention.output(mixed))
    torch.testing.assert_close(attention(states, context, None, SITE, None), expected, rtol=0, atol=1e-6)
