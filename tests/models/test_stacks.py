import pytest
import torch

from tests.models.examples import random_batch, small_encoder
from vlp.models.blocks import BlockShape
from vlp.models.embeddings.base import Embedded
from vlp.models.stacks import CoAttention, DualStream, SingleStream

SHAPE = BlockShape(width=8, heads=2, feed_forward=12)


def names(stack):
    return [str(site) for site in stack.sites]


def test_a_single_stream_has_a_map_and_a_state_a_layer():
    assert names(SingleStream(SHAPE, layers=2)) == [
        "joint.-1.joint",
        "joint.0.joint-joint",
        "joint.0.joint",
        "joint.1.joint-joint",
        "joint.1.joint",
    ]
    assert names(SingleStream(SHAPE, layers=1, stage="text")) == ["text.-1.text", "text.0.text-text", "text.0.text"]


def test_a_cross_layer_has_both_cross_maps_then_both_self_maps():
    assert names(DualStream(SHAPE, text_layers=1, vision_layers=1, cross_layers=1)) == [
        "text.-1.text",
        "text.0.text-text",
        "text.0.text",
        "vision.-1.vision",
        "vision.0.vision-vision",
        "vision.0.vision",
        "cross.0.text-vision",
        "cross.0.vision-text",
        "cross.0.text-text",
        "cross.0.text",
        "cross.0.vision-vision",
        "cross.0.vision",
    ]


def test_co_attention_lets_vision_in_at_the_first_cross_layer():
    vision = BlockShape(width=12, heads=3, feed_forward=6)
    stack = CoAttention(SHAPE, vision, text_layers=1, cross_layers=1, cross_width=20, cross_heads=5)
    assert names(stack) == [
        "text.-1.text",
        "text.0.text-text",
        "text.0.text",
        "vision.-1.vision",
        "cross.0.text-vision",
        "cross.0.vision-text",
        "cross.0.text-text",
        "cross.0.text",
        "cross.0.vision-vision",
        "cross.0.vision",
    ]
    assert (stack.width, stack.vision_width) == (8, 12)
    assert {str(site): heads for site, heads in stack.heads_of.items()} == {
        "text.0.text-text": 2,
        "cross.0.text-vision": 5,
        "cross.0.vision-text": 5,
        "cross.0.text-text": 2,
        "cross.0.vision-vision": 3,
    }


def test_streams_with_heads_of_their_own_have_no_number_of_heads():
    encoder = small_encoder("vilbert")
    assert {encoder.heads_of[site] for site in encoder.attention_sites} == {3, 4}
    with pytest.raises(ValueError) as error:
        _ = encoder.num_heads
    assert str(error.value) == "vilbert has 3 and 4 attention heads, by site: see heads_of"


def test_a_single_stream_without_vision_reads_text():
    stack = SingleStream(SHAPE, layers=1).eval()
    text, mask = torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)
    states, vision = stack(Embedded(text, mask))
    assert vision is None
    assert states.shape == (2, 3, 8)


def test_two_streams_need_an_image():
    stack = DualStream(SHAPE, text_layers=1, vision_layers=1, cross_layers=1)
    with pytest.raises(ValueError) as error:
        stack(Embedded(torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)))
    assert str(error.value) == "two streams need an image, the batch has none"


@torch.no_grad()
def test_text_and_vision_do_not_meet_before_the_cross_layers():
    encoder, batch = small_encoder("lxmert", cross_layers=0), random_batch()
    other = random_batch(seed=2)
    batch_with_other_text = type(batch)(
        other.input_ids, batch.text_mask, batch.token_types, batch.features, batch.boxes, batch.region_mask
    )
    first, second = encoder(batch), encoder(batch_with_other_text)
    assert torch.equal(first.vision, second.vision)
    assert not torch.equal(first.text, second.text)
