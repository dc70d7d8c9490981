import math

import pytest
import torch
from torch import nn

from tests.models.examples import pixel_batch
from vlp.data.pixels import PixelInput
from vlp.models.embeddings.pixels import by_place, cell_mask, padded, parsed, sine_positions

INPUT = PixelInput(8, 64, 8)
GRIDS = ((2, 3), (2, 2), (4, 2))


def batch(grids=GRIDS):
    return pixel_batch(INPUT, (3,) * len(grids), grids)


class Counting(nn.Module):
    """The mean of every cell, and how many images it was given at once."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, pixels):
        self.calls.append(tuple(pixels.shape))
        return nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1)


def test_a_cell_is_real_where_its_image_is():
    mask = cell_mask(batch(), 8)
    assert mask.shape == (3, 4, 3)
    assert mask.sum((1, 2)).tolist() == [6, 4, 8]
    assert mask[0].tolist() == [[True] * 3, [True] * 3, [False] * 3, [False] * 3]
    assert mask[2].tolist() == [[True, True, False]] * 4


def test_sine_positions_are_those_of_detr():
    positions = sine_positions(7, 5, 768)
    assert positions.shape == (7, 5, 768)
    assert torch.equal(positions[:, :1, :384].expand(-1, 5, -1), positions[..., :384])  # rows come first
    assert torch.equal(positions[:1, :, 384:].expand(7, -1, -1), positions[..., 384:])
    torch.testing.assert_close(positions.norm(dim=-1), torch.full((7, 5), 19.596), rtol=0, atol=1e-3)
    angle = 2 * math.pi * 3 / (7 + 1e-6) / 10_000 ** (10 / 384)
    assert positions[2, 4, 10].item() == pytest.approx(math.sin(angle), abs=1e-6)
    assert positions[2, 4, 11].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_sine_positions_need_a_width_of_two_pairs_of_halves():
    with pytest.raises(ValueError) as error:
        sine_positions(2, 2, 6)
    assert str(error.value) == "sine positions of two coordinates need a width that 4 divides, got 6"


def test_every_image_has_the_positions_of_its_own_size():
    mask = cell_mask(batch(), 8)
    found = by_place(mask, lambda rows, columns: sine_positions(rows, columns, 8), 8).unflatten(1, (4, 3))
    for row, (rows, columns) in enumerate(GRIDS):
        assert torch.equal(found[row, :rows, :columns], sine_positions(rows, columns, 8))
        assert not found[row].masked_select(~mask[row][..., None]).any()


def test_a_table_gets_gradients_from_every_size():
    table = nn.Parameter(torch.ones(3))
    by_place(cell_mask(batch(), 8), lambda rows, columns: table.expand(rows, columns, 3), 3).sum().backward()
    assert table.grad.tolist() == [18, 18, 18]


def test_images_of_one_size_go_through_the_parser_together_and_without_padding():
    given, parser = batch((*GRIDS, (2, 2))), Counting()
    mask = cell_mask(given, 8)
    found = parsed(parser, given, mask, 8)
    assert sorted(parser.calls) == [(1, 3, 16, 24), (1, 3, 32, 16), (2, 3, 16, 16)]
    everywhere = Counting()(given.pixels)
    torch.testing.assert_close(found, everywhere[mask])
    torch.testing.assert_close(
        padded(found, mask.flatten(1)), everywhere.masked_fill(~mask[..., None], 0.0).flatten(1, 2)
    )


def test_images_of_one_size_cost_one_call():
    given, parser = batch(((2, 3),) * 3), Counting()
    mask = cell_mask(given, 8)
    torch.testing.assert_close(parsed(parser, given, mask, 8), Counting()(given.pixels)[mask])
    assert parser.calls == [(3, 3, 16, 24)]
