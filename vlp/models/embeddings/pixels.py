"""What embeddings of pixels share: what they read, cells of a grid, a visual parser, what a cell has by its place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from vlp.data.pixels import PixelInput
from vlp.data.sample import Batch
from vlp.models.embeddings.base import Embeddings, TextEmbeddings
from vlp.models.parsers import Parser
from vlp.models.shared_statistics import learns_statistics, shared_statistics

# Axes: B pairs, I images, H and W pixels, R rows and C columns of a grid of cells, V = R * C, F feature width, D width.
# An image may have several texts, see `Batch.image_of`: it is parsed once, and `of_pairs` gives each pair its own.

Table = Callable[[int, int], Tensor]
"""What has (R, C, D) for every grid of R rows and C columns."""

SINE_TEMPERATURE = 10_000
SINE_EPS = 1e-6


class PixelEmbeddings(Embeddings):
    """Reads pixels, as cells of a grid: squares whose side is the multiple that images are cut to.

    Args:
        text: the word embedding.
        pixel_input: how an image becomes the pixels it reads.
    """

    reads = "pixels"

    def __init__(self, text: TextEmbeddings, pixel_input: PixelInput) -> None:
        super().__init__(text, feature_width=None)
        self.input = pixel_input

    @property
    def pixel_input(self) -> PixelInput:
        """How an image becomes the pixels it reads."""
        return self.input

    def check(self, batch: Batch, model: str) -> None:
        """Check that ``batch`` has pixels that make whole cells.

        Raises:
            ValueError: if it has not.
        """
        check_pixels(batch, self.input, model)

    def cells(self, batch: Batch) -> Tensor:
        """Return which cells of the images are real, (I, R, C) bool."""
        return cell_mask(batch, self.input.multiple)

    def vision_mask(self, batch: Batch) -> Tensor | None:
        """Return which cells are real, (B, V) bool, row by row."""
        return None if batch.pixel_mask is None else of_pairs(self.cells(batch).flatten(1), batch)


class ParsedEmbeddings(PixelEmbeddings):
    """Reads the features that a visual parser finds, each with a fixed position of its row and column.

    Args:
        text: the word embedding.
        parser: finds the grid of features; pixels are normalised as for its training, on ImageNet.
        image_size: of the shorter side, in pixels.
        longest: most pixels of the longer side; None for square images.
    """

    def __init__(self, text: TextEmbeddings, parser: Parser, image_size: int, longest: int | None) -> None:
        super().__init__(text, PixelInput(image_size, longest, parser.stride))
        self.parser = parser

    def initialise_own(self) -> None:
        """Draw the parser's weights as timm does."""
        self.parser.initialise()

    def parsed(self, batch: Batch, mask_IRC: Tensor) -> Tensor:
        """Return the features (N, F) of the real cells, image by image and row by row."""
        return parsed(self.parser, batch, mask_IRC, self.parser.stride)

    @staticmethod
    def placed(cells_BVD: Tensor, batch: Batch, mask_IRC: Tensor) -> Tensor:
        """Return the pairs' cells (B, V, D) with their positions added."""
        width, device = cells_BVD.shape[-1], cells_BVD.device
        place = by_place(mask_IRC, lambda rows, columns: sine_positions(rows, columns, width, device), width)
        return cells_BVD + of_pairs(place, batch)


def check_pixels(batch: Batch, pixel_input: PixelInput, model: str) -> None:
    """Check that ``batch`` has pixels that ``model`` can read.

    Raises:
        ValueError: if there is no image, or not one a pair, if a side is no multiple of what the model needs, or if a
            row is all padding.
    """
    if batch.pixels is None or batch.pixel_mask is None:
        raise ValueError(f"{model} reads pixels and a pixel mask; the batch has no image")
    height, width = batch.pixels.shape[-2:]
    if height % pixel_input.multiple or width % pixel_input.multiple:
        raise ValueError(f"{model} reads sides that are multiples of {pixel_input.multiple}, got {width} x {height}")
    if len(batch) != (len(batch.pixels) if batch.image_of is None else len(batch.image_of)):
        found = "no image_of" if batch.image_of is None else f"image_of of {len(batch.image_of)}"
        raise ValueError(
            f"{model}: {len(batch)} captions, {len(batch.pixels)} images and {found}: expected one a caption"
        )
    has_pixel_B = batch.pixel_mask[:, 0, 0]
    if not bool(has_pixel_B.all()):
        row = int((~has_pixel_B).nonzero()[0])
        raise ValueError(f"image without pixels: row {row} of the batch is padding, {model} needs its image upper left")


def of_pairs(rows: Tensor, batch: Batch) -> Tensor:
    """Return for each pair the row of ``rows`` (I, ...) that is of its image."""
    return rows if batch.image_of is None else rows.index_select(0, batch.image_of)


def pivot_cells(mask_BV: Tensor, pivots_B: Tensor) -> Tensor:
    """Return (B,) where among all cells the one is that a pivot names among the real ones; any for NaN.

    Args:
        mask_BV: true at real cells.
        pivots_B: in [0, 1), see `Batch.pivots`.
    """
    counts_B = mask_BV.sum(dim=1)
    rank_B = (pivots_B.nan_to_num(0.0) * counts_B).long().minimum(counts_B - 1)  # 0.99999999 is 1 in float32
    return (mask_BV & (mask_BV.cumsum(dim=1) - 1 == rank_B[:, None])).long().argmax(dim=1)


def cell_mask(batch: Batch, stride: int) -> Tensor:
    """Return which cells of the grid are real, (B, R, C) bool: those whose upper left pixel is."""
    assert batch.pixel_mask is not None
    return batch.pixel_mask[:, ::stride, ::stride]


def same_size(mask_BRC: Tensor) -> Iterator[tuple[Tensor, int, int]]:
    """Yield, for each size among the grids, which of the batch have it, (B,) bool, and its rows and columns.

    Images stand in the upper left corner of their padding.
    """
    sizes_B2 = torch.stack([mask_BRC[:, :, 0].sum(1), mask_BRC[:, 0, :].sum(1)], dim=1)
    for size in sizes_B2.unique(dim=0):
        yield (sizes_B2 == size).all(dim=1), int(size[0]), int(size[1])


def by_place(mask_BRC: Tensor, table: Table, width: int) -> Tensor:
    """Return (B, V, D): what ``table`` has for each image's own grid, zeros at padding."""
    placed: Tensor | None = None
    for chosen_B, rows, columns in same_size(mask_BRC):
        values = table(rows, columns)
        if placed is None:
            placed = values.new_zeros(*mask_BRC.shape, width)
        room = (0, 0, 0, mask_BRC.shape[2] - columns, 0, mask_BRC.shape[1] - rows)
        placed = torch.where(chosen_B[:, None, None, None], nn.functional.pad(values, room), placed)
    assert placed is not None
    return placed.flatten(1, 2)


def parsed(parser: nn.Module, batch: Batch, mask_BRC: Tensor, stride: int) -> Tensor:
    """Return the features (N, F) that ``parser`` finds in the real cells, image by image and row by row.

    Images of one size go through it together and without their padding, which a convolution or a window would mix with
    what stands beside it. Where BatchNorm learns, which makes each image depend on the others, all go at once.

    Args:
        parser: (B, 3, H, W) to (B, R, C, F).
        batch: one with pixels.
        mask_BRC: from `cell_mask`.
        stride: pixels of a cell's side.
    """
    assert batch.pixels is not None
    assert batch.pixel_mask is not None
    groups = list(same_size(mask_BRC))
    if len(groups) == 1:
        _, rows, columns = groups[0]
        return parser(batch.pixels[:, :, : rows * stride, : columns * stride]).flatten(0, 2)
    if learns_statistics(parser):
        with shared_statistics(parser, batch.pixel_mask):
            return parser(batch.pixels)[mask_BRC]
    found, places = [], []
    for chosen_B, rows, columns in groups:
        found.append(parser(batch.pixels[chosen_B, :, : rows * stride, : columns * stride]).flatten(0, 2))
        places.append((mask_BRC & chosen_B[:, None, None]).flatten().nonzero().squeeze(1))
    return torch.cat(found)[torch.cat(places).argsort()]


def padded(rows_ND: Tensor, mask_BV: Tensor) -> Tensor:
    """Return (B, V, D) with the rows of the real cells, in order, at their places, and zeros at padding."""
    if mask_BV.all():
        return rows_ND.unflatten(0, mask_BV.shape)
    return rows_ND.new_zeros(*mask_BV.shape, rows_ND.shape[-1]).masked_scatter(mask_BV[..., None], rows_ND)


def sine_positions(rows: int, columns: int, width: int, device: torch.device | None = None) -> Tensor:
    """Return fixed positions (R, C, D) of a grid: sines and cosines, of the row first, then of the column.

    A coordinate runs from 1 to the number of rows (columns), scaled to 2 pi; each half alternates sine and cosine of
    falling frequencies (Carion et al., ECCV 2020, arXiv:2005.12872, released code, as SOHO has it).

    Raises:
        ValueError: if ``width`` is no multiple of 4.
    """
    if width % 4:
        raise ValueError(f"sine positions of two coordinates need a width that 4 divides, got {width}")
    halves = [
        _sines(torch.arange(1, count + 1, dtype=torch.float32, device=device) / (count + SINE_EPS), width // 2)
        for count in (rows, columns)
    ]
    return torch.cat([halves[0][:, None].expand(-1, columns, -1), halves[1][None].expand(rows, -1, -1)], dim=-1)


def _sines(share_N: Tensor, width: int) -> Tensor:
    """Return (N, width) for coordinates in (0, 1]."""
    order = torch.arange(width // 2, dtype=torch.float32, device=share_N.device)
    frequencies = SINE_TEMPERATURE ** (-2 * order / width)
    angles = 2 * math.pi * share_N[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
