import re
from dataclasses import replace

import pytest
import torch

from tests.models.examples import batch_for, small_encoder
from vlp.models.embeddings.swin_vlp import strongest

PIVOTS = torch.tensor([0.1, 0.6, 0.9])


def hiding(batch, count=2):
    return replace(batch, pivots=PIVOTS, num_hidden=count)


def sharing(batch, image_of=(2, 0, 2, 1, 1)):
    """Five captions, those of the batch again, of its three images in a mixed order."""
    caption_of = torch.tensor([0, 1, 2, 0, 1])
    texts = {name: getattr(batch, name)[caption_of] for name in ("input_ids", "text_mask", "token_types")}
    return replace(batch, **texts, image_of=torch.tensor(image_of))


def test_the_hidden_are_the_pivot_and_those_it_attends_to_most():
    generator = torch.Generator().manual_seed(0)
    attention = torch.rand(50, 36, 36, generator=generator).softmax(-1)
    pivots = torch.rand(50, generator=generator)
    hidden = strongest(attention, torch.ones(50, 36, dtype=torch.bool), pivots, 7)
    assert hidden.sum(1).tolist() == [7] * 50
    for row in range(50):
        pivot = int(pivots[row] * 36)
        others = [cell for cell in attention[row, pivot].argsort(descending=True).tolist() if cell != pivot]
        assert set(hidden[row].nonzero().flatten().tolist()) == {pivot, *others[:6]}


def test_known_maps_hide_known_cells():
    blocks = torch.block_diag(torch.full((3, 3), 1 / 3), torch.full((3, 3), 1 / 3))  # cells 0-2 and cells 3-5
    elsewhere = torch.zeros(6, 6).index_fill_(1, torch.tensor([1]), 1.0)  # nobody attends to himself
    elsewhere[:, 4] = 0.5
    maps, real = torch.stack([blocks, elsewhere]), torch.ones(2, 6, dtype=torch.bool)
    hidden = strongest(maps, real, torch.tensor([0.4, 0.9]), 3)
    assert [row.nonzero().flatten().tolist() for row in hidden] == [[0, 1, 2], [1, 4, 5]]


def test_padding_is_never_hidden_and_nan_hides_nothing():
    real = torch.tensor([[True, True, True, False], [True] * 4])
    towards_padding = torch.tensor([0.1, 0.2, 0.0, 0.7]).expand(2, 4, 4)
    hidden = strongest(towards_padding, real, torch.tensor([0.9, torch.nan]), 2)
    assert hidden.tolist() == [[False, True, True, False], [False] * 4]


def test_a_pair_picks_from_the_map_of_its_own_image():
    attention = torch.tensor([[0.0, 0.9, 0.1], [0.0, 0.1, 0.9]])[:, None].expand(-1, 3, -1)
    hidden = strongest(attention, torch.ones(3, 3, dtype=torch.bool), torch.zeros(3), 2, torch.tensor([1, 0, 1]))
    assert hidden.tolist() == [[True, False, True], [True, True, False], [True, False, True]]


@pytest.mark.parametrize("count", [None, 5])
def test_a_number_that_cannot_be_hidden_is_refused(count):
    encoder = small_encoder("swin_vlp")
    with pytest.raises(ValueError) as error:
        encoder(hiding(batch_for(encoder), count))
    assert str(error.value) == f"num_hidden={count}: expected how many of 4 cells go with a pivot"


@torch.no_grad()
def test_a_hidden_cell_is_not_seen_and_its_feature_is_told():
    encoder = small_encoder("swin_vlp")
    given = batch_for(encoder)
    hidden, shown = encoder.embeddings(hiding(given)), encoder.embeddings(given)
    assert shown.hidden is None
    assert shown.targets is None
    assert hidden.hidden.sum(1).tolist() == [2, 2, 2]
    assert torch.equal((hidden.vision == shown.vision).all(-1), ~hidden.hidden)
    torch.testing.assert_close(hidden.targets, encoder.embeddings.parser(given.pixels).flatten(1, 2))
    random = torch.tensor([[True, False, False, True]] * 3)
    drawn = encoder.embeddings(replace(given, masked_regions=random))
    assert torch.equal(drawn.hidden, random)
    assert torch.equal((drawn.vision == shown.vision).all(-1), ~random)


@torch.no_grad()
def test_what_stood_in_a_hidden_cell_changes_nothing():
    encoder = small_encoder("swin_vlp")
    given = replace(batch_for(encoder), masked_regions=torch.tensor([[True] * 4] * 3))
    other = replace(given, pixels=torch.randn_like(given.pixels))
    assert torch.equal(encoder.embeddings(given).vision, encoder.embeddings(other).vision)
    assert not torch.equal(encoder.embeddings(given).targets, encoder.embeddings(other).targets)


def test_no_gradient_reaches_the_parser_through_targets_or_the_choice():
    encoder = small_encoder("swin_vlp")
    embedded = encoder.embeddings(hiding(batch_for(encoder), 4))  # everything hidden: what the model sees has no image
    assert not embedded.targets.requires_grad
    embedded.vision.square().sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in encoder.embeddings.parser.parameters())
    encoder.embeddings(hiding(batch_for(encoder), 3)).vision.square().sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in encoder.embeddings.parser.parameters())


def test_a_model_without_the_vector_sees_everything_and_refuses_to_hide():
    encoder = small_encoder("swin_vlp")
    encoder.embeddings.masked_cell = None
    encoder(batch_for(encoder))
    with pytest.raises(ValueError) as error:
        encoder(hiding(batch_for(encoder)))
    assert str(error.value) == "the batch hides cells, and the model was built without a vector for them (masked_cell)"


@pytest.mark.parametrize("name", ["soho", "swin_vlp", "vilt"])
@torch.no_grad()
def test_images_of_several_texts_give_what_the_same_pixels_repeated_give(name):
    encoder = small_encoder(name)
    shared = sharing(batch_for(encoder))
    if name != "vilt":
        shared = replace(shared, pivots=torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]), num_hidden=2)
    images = {part: getattr(shared, part)[shared.image_of] for part in ("pixels", "pixel_mask")}
    repeated = replace(shared, **images, image_of=None)
    found, expected = encoder(shared), encoder(repeated)
    torch.testing.assert_close(found.text[shared.text_mask], expected.text[shared.text_mask])
    torch.testing.assert_close(found.pooled, expected.pooled)
    for mine, other in zip(encoder.stream_masks(shared, "joint"), encoder.stream_masks(repeated, "joint"), strict=True):
        assert torch.equal(mine, other)
    real = encoder.embeddings.without_global(encoder.embeddings.vision_mask(shared))
    torch.testing.assert_close(found.vision[real], expected.vision[real])
    if found.hidden is not None:
        assert torch.equal(found.hidden, expected.hidden)
        torch.testing.assert_close(found.targets[real], expected.targets[real])


@pytest.mark.parametrize("name", ["soho", "swin_vlp"])
def test_the_parser_sees_an_image_once_whatever_the_number_of_its_texts(name):
    encoder, seen = small_encoder(name), []
    encoder.embeddings.parser.network.register_forward_hook(lambda module, args, output: seen.append(len(args[0])))
    swin = getattr(encoder.embeddings.parser.network, "forward_features", None)
    if swin is not None:
        encoder.embeddings.parser.network.forward_features = lambda x: (seen.append(len(x)), swin(x))[1]
    encoder(hiding(batch_for(encoder)))
    once = sum(seen)
    seen.clear()
    encoder(replace(sharing(batch_for(encoder)), pivots=torch.rand(5), num_hidden=2))
    assert sum(seen) == once == 3


def test_captions_without_an_image_each_are_refused():
    encoder = small_encoder("swin_vlp")
    shared = sharing(batch_for(encoder))
    for given, found in ((replace(shared, image_of=None), "no image_of"), (replace(shared, image_of=PIVOTS), "3")):
        with pytest.raises(ValueError) as error:
            encoder(given)
        assert re.match(f"swin_vlp: 5 captions, 3 images and (image_of of )?{found}", str(error.value))
