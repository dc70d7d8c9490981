import pytest
import torch

from vlp.models.parsers import SwinParser
from vlp.models.visual_masks import visual_masks


def parser():
    torch.manual_seed(0)
    numbers = {"embed_dim": 16, "depths": [1, 2], "num_heads": [1, 2]}
    made = SwinParser("swin_tiny_patch4_window7_224", 48, drop_path=0.5, options=numbers)
    for parameter in made.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return made


def test_parsed_cells_are_the_pivot_and_what_it_attends_to_most():
    own, pixels = parser(), torch.randn(5, 3, 48, 48)
    masks = visual_masks(own, pixels, k=4)
    maps = own.eval().parse(pixels)[1]
    assert masks.parsed.shape == masks.random.shape == masks.attention.shape == (5, 6, 6)
    for row in range(5):
        pivot = int(masks.pivot[row].flatten().nonzero())
        torch.testing.assert_close(masks.attention[row].flatten(), maps[row, pivot])
        others = [cell for cell in maps[row, pivot].argsort(descending=True).tolist() if cell != pivot]
        assert set(masks.parsed[row].flatten().nonzero().flatten().tolist()) == {pivot, *others[:3]}


def test_random_cells_are_the_pivot_and_as_many_others_all_as_likely():
    own, pixels = parser(), torch.zeros(40, 3, 48, 48)
    drawn = [visual_masks(own, pixels, k=9, seed=seed) for seed in range(10)]
    random, pivot = (torch.cat([getattr(masks, name) for masks in drawn]) for name in ("random", "pivot"))
    assert (random.sum((1, 2)) == 9).all()
    assert random[pivot].all()
    share, chance = (random & ~pivot).double().sum(0) / (~pivot).sum(0), 8 / 35
    assert (share - chance).abs().max() < 4.5 * (chance * (1 - chance) / 380) ** 0.5


def test_the_same_seed_gives_the_same_masks_and_pivots_whatever_the_parser():
    own, pixels = parser().train(), torch.randn(5, 3, 48, 48)
    first, again, other = (visual_masks(p, pixels) for p in (own, own, parser().requires_grad_(False)))
    assert own.training
    assert torch.equal(first.parsed, again.parsed)
    assert torch.equal(first.random, again.random)
    assert torch.equal(first.pivot, other.pivot)
    assert not torch.equal(first.pivot, visual_masks(own, pixels, seed=1).pivot)


@pytest.mark.parametrize("k", [0, 36])
def test_a_number_of_cells_that_leaves_none_to_hide_or_see_is_refused(k):
    with pytest.raises(ValueError) as error:
        visual_masks(parser(), torch.zeros(1, 3, 48, 48), k=k)
    assert str(error.value) == f"k={k}: expected at least 1 and fewer than the 36 cells of an image"
