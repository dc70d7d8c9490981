from dataclasses import replace

import torch

from tests.models.examples import SMALL, batch_for, pixel_batch, small_encoder
from vlp.models.embeddings.vilt import ViltEmbeddings


def embeddings(**options) -> ViltEmbeddings:
    torch.manual_seed(0)
    numbers = {**SMALL["vilt"], **options}
    return ViltEmbeddings(vocab_size=60, feature_width=None, width=8, dropout=0.0, **numbers)


def batch(own, grids=((3, 3), (2, 4), (4, 2))):
    return pixel_batch(own.pixel_input, (3,) * len(grids), grids)


def test_on_its_own_grid_positions_are_the_table():
    own = embeddings()
    given = batch(own, ((3, 3),))
    patches = own.patches(given.pixels).flatten(2).transpose(1, 2)
    expected = patches + own.positions.weight[1:] + own.modalities.weight[1]
    torch.testing.assert_close(own(given).vision[:, 1:], expected)
    first = own.class_token.weight + own.positions.weight[:1] + own.modalities.weight[1]
    torch.testing.assert_close(own(given).vision[:, 0], first)


def test_text_has_the_first_modality_and_a_second_image_the_third():
    own = embeddings(modalities=3)
    given = batch(own)
    plain = own.text(given.input_ids, given.token_types)
    torch.testing.assert_close(own(given).text, plain + own.modalities.weight[0])
    second = replace(given, visual_types=torch.ones(3, 16, dtype=torch.long))
    difference = (own(second).vision - own(given).vision)[own(given).vision_mask]
    torch.testing.assert_close(difference, (own.modalities.weight[2] - own.modalities.weight[1]).expand_as(difference))


def same_rows(first, second) -> bool:
    """Whether the rows of ``first`` are those of ``second`` in some order."""
    return bool(torch.cdist(first, second).lt(1e-4).any(1).all()) and len(first) == len(second)


def test_in_evaluation_patches_stand_row_by_row_whatever_is_configured():
    plain, shuffling = embeddings().eval(), embeddings(shuffle=True, max_patches=2).eval()
    shuffling.load_state_dict(plain.state_dict())
    given = batch(plain)
    assert torch.equal(plain(given).vision, shuffling(given).vision)
    assert torch.equal(plain(given).vision_mask, shuffling(given).vision_mask)


def test_shuffling_changes_the_order_in_training_alone():
    own = embeddings(shuffle=True).train()
    given = batch(own)
    shuffled, ordered = own(given), own.eval()(given)
    assert not torch.equal(shuffled.vision, ordered.vision)
    assert torch.equal(shuffled.vision[:, 0], ordered.vision[:, 0])
    for row in range(3):
        real = (shuffled.vision[row][shuffled.vision_mask[row]], ordered.vision[row][ordered.vision_mask[row]])
        assert same_rows(*real)


def test_most_patches_are_drawn_among_real_ones_and_kept_in_order():
    own = embeddings(max_patches=5).train()
    given = batch(own, ((3, 3), (1, 4), (2, 4)))
    torch.manual_seed(1)
    drawn, ordered = own(given), own.eval()(given)
    assert drawn.vision_mask.sum(1).tolist() == [1 + 5, 1 + 4, 1 + 5]
    for row in range(3):
        kept = drawn.vision[row, 1:][drawn.vision_mask[row, 1:]]
        distance = torch.cdist(kept, ordered.vision[row, 1:])
        assert (distance.amin(1) < 1e-4).all()
        assert (distance.argmin(1).diff() > 0).all()
    seen = own.train()(given)
    assert not torch.equal(seen.vision, drawn.vision)


def test_the_class_token_is_attended_and_is_no_patch():
    encoder = small_encoder("vilt")
    given = batch_for(encoder)
    assert encoder.embeddings(given).vision_mask[:, 0].all()
    assert not encoder.stream_masks(given, "vision")[0][:, 0].any()
    assert encoder.first_region == 1
    patches = encoder.embeddings(given).vision.shape[1] - 1
    assert encoder(given).vision.shape[1] == patches
