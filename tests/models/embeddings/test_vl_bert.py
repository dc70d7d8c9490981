import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from tests.models.examples import permuted, random_batch, small_encoder
from vlp.models import build
from vlp.models.embeddings.vl_bert import waves

LENGTHS, REGIONS = (7, 4, 5), (5, 2, 6)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def subject(name="vl_bert", released=None):
    torch.manual_seed(0)
    numbers = {"width": 32, "heads": 4, "layers": 2, "feed_forward": 48, "positions": 16, "pooled_width": 20}
    encoder = build(name, feature_width=10, vocab_size=60, released_behaviour=released, **numbers)
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return encoder


def norm(part, value):
    return functional.layer_norm(value, value.shape[-1:], part.weight, part.bias, 1e-12)


def by_hand(embeddings, batch, row, regions, whole, masked=()):
    """Text and regions of one row, one token after the other, as section 4.3 of the reference has them.

    Args:
        regions: (feature, box) of every row of the visual stream.
        whole: which of them ends the sequence.
        masked: which of them are hidden.
    """
    looks = []
    for at, (feature, box) in enumerate(regions):
        feature = embeddings.masked_feature.weight[0] if at in masked else feature
        x1, y1, x2, y2 = (100 * number for number in box.tolist())
        place = []
        for value in ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1):
            angles = [value / 1000 ** (i / 256) for i in range(256)]
            place += [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
        joined = torch.cat([torch.tensor(place), feature])
        looks.append(torch.relu(embeddings.look[1].weight @ joined + embeddings.look[1].bias))
    count = int(batch.text_mask[row].sum())
    tables = embeddings.text
    text = [
        norm(
            tables.norm,
            tables.words.weight[batch.input_ids[row, at]]
            + norm(embeddings.text_look_norm, looks[whole])
            + tables.positions.weight[at]
            + tables.types.weight[0],
        )
        for at in range(count)
    ]
    vision = []
    for at, look in enumerate(looks):
        word = embeddings.region_word.weight[0]
        if at in masked and embeddings.masked_word is not None:
            word = embeddings.masked_word.weight[0]
        if at == whole:
            word = embeddings.end_word.weight[0]
        place = tables.positions.weight[count + (at == whole)] + tables.types.weight[2]
        vision.append(norm(tables.norm, norm(embeddings.look_norm, look) + word + place))
    return torch.stack(text), torch.stack(vision)


def rows_of(batch, row, place, hidden=()):
    """The (feature, box) of a row's real regions with the whole image among them, and where it stands."""
    count = int(batch.region_mask[row].sum())
    features = batch.features[row, :count].clone()
    features[list(hidden)] = 0
    regions = list(zip(features, batch.boxes[row, :count], strict=True))
    whole = (features.mean(0), torch.tensor([0.0, 0.0, 1.0, 1.0]))
    return ([whole, *regions], 0) if place == "first" else ([*regions, whole], count)


@pytest.mark.parametrize(("name", "place"), [("vl_bert", "last"), ("vl_bert_ctrl", "first")])
@torch.no_grad()
def test_words_see_the_whole_image_and_it_ends_the_sequence(name, place):
    embeddings, batch = subject(name).embeddings, random_batch(LENGTHS, REGIONS)
    batch = replace(batch, masked_regions=batch.region_mask & (torch.arange(6) == 1))
    found = embeddings(batch)
    for row in range(3):
        regions, whole = rows_of(batch, row, place, hidden=[1])
        text, vision = by_hand(embeddings, batch, row, regions, whole, masked=[1 + (place == "first")])
        torch.testing.assert_close(found.text[row, : len(text)], text, **CLOSE)
        torch.testing.assert_close(found.vision[row][found.vision_mask[row]], vision, **CLOSE)


@torch.no_grad()
def test_released_behaviour_takes_the_last_region_for_the_whole_image():
    embeddings, batch = subject("vl_bert_ctrl", released=True).embeddings, random_batch(LENGTHS, REGIONS)
    found = embeddings(batch)
    for row in range(3):
        regions, _ = rows_of(batch, row, "first")
        text, vision = by_hand(embeddings, batch, row, regions, whole=len(regions) - 1)
        torch.testing.assert_close(found.text[row, : len(text)], text, **CLOSE)
        torch.testing.assert_close(found.vision[row][found.vision_mask[row]], vision, **CLOSE)


@torch.no_grad()
def test_released_behaviour_takes_rows_of_zeros_for_masked():
    batch = random_batch(LENGTHS, REGIONS)
    batch.features[:, 1] = 0
    hidden = replace(batch, masked_regions=torch.arange(6).expand(3, 6) == 1)
    released, right = (subject("vl_bert_ctrl", released=flag).embeddings for flag in (True, False))
    assert torch.equal(released(batch).vision, released(hidden).vision)
    assert not torch.allclose(right(batch).vision[:, 2], right(hidden).vision[:, 2], atol=1e-3)


@torch.no_grad()
def test_in_released_behaviour_the_order_of_regions_matters_and_otherwise_not():
    batch, order = random_batch((7, 4), (6, 6)), torch.tensor([5, 0, 4, 2, 1, 3])
    moved = permuted(batch, order)
    for released, is_same in ((True, False), (False, True)):
        encoder = subject("vl_bert_ctrl", released=released)
        assert encoder.released_behaviour == released
        assert torch.allclose(encoder(batch).text[0], encoder(moved).text[0], atol=1e-4) == is_same


@torch.no_grad()
def test_padding_does_not_change_which_region_is_last():
    encoder = subject("vl_bert_ctrl", released=True)
    together = encoder(random_batch((4, 4), (2, 6), seed=3))
    batch = random_batch((4, 4), (2, 6), seed=3)
    alone = replace(
        batch, features=batch.features[:, :2], boxes=batch.boxes[:, :2], region_mask=batch.region_mask[:, :2]
    )
    torch.testing.assert_close(together.text[0], encoder(alone).text[0], **CLOSE)


def test_a_new_model_begins_as_if_it_saw_nothing():
    torch.manual_seed(0)
    embeddings, batch = build("vl_bert", feature_width=10, vocab_size=60).embeddings, random_batch()
    other = replace(batch, features=torch.randn_like(batch.features), boxes=batch.boxes.flip(1))
    assert torch.equal(embeddings(batch).text, embeddings(other).text)
    assert torch.equal(embeddings(batch).vision, embeddings(other).vision)
    assert embeddings.masked_feature.weight.count_nonzero() == 0


def test_waves_of_a_box():
    found = waves(torch.tensor([0.1, 0.2, 0.5, 0.4]))
    assert found.shape == (2048,)
    for at, value in enumerate((30.0, 30.0, 40.0, 20.0)):
        assert found[512 * at].item() == pytest.approx(math.sin(value), abs=1e-4)
        assert found[512 * at + 256].item() == pytest.approx(math.cos(value), abs=1e-4)
        assert found[512 * at + 128].item() == pytest.approx(math.sin(value / math.sqrt(1000)), abs=1e-5)


def test_two_positions_are_kept_for_regions_and_the_end():
    assert small_encoder("vl_bert").max_positions == 14
    with pytest.raises(ValueError, match="vl_bert has 14 positions, the longest caption of the batch has 15"):
        small_encoder("vl_bert")(random_batch((15, 3), (2, 2)))


def test_words_need_a_whole_image_to_see():
    from vlp.models.embeddings.vl_bert import VLBertEmbeddings

    with pytest.raises(ValueError) as error:
        VLBertEmbeddings(60, 10, 32, 16, global_region=None)
    assert str(error.value) == "global_region=null: words of VL-BERT see the whole image; expected first or last"
