"""Small encoders and batches that the tests of models and observers share."""

from dataclasses import replace
from pathlib import Path

import torch

from vlp.data.pixels import PixelInput
from vlp.data.sample import Batch
from vlp.models import VLEncoder, build

MODELS = sorted(file.stem for file in (Path(__file__).parents[2] / "conf" / "model").glob("*.yaml"))
"""Every option of ``conf/model``, found by listing: a new one is tested by existing."""

VOCAB, FEATURE_WIDTH, POSITIONS = 60, 10, 16
SMALL = {
    "width": 32,
    "heads": 4,
    "feed_forward": 48,
    "layers": 3,
    "text_layers": 2,
    "vision_layers": 1,
    "cross_layers": 2,
    "positions": POSITIONS,
    "drop_path": 0.0,
    "vilt": {"image_size": 16, "longest": 32, "patch": 8, "grid": 3, "positions": POSITIONS},
    "soho": {
        "image_size": 16,
        "longest": 32,
        "entries": 12,
        "momentum": 0.9,
        "parser": "resnet18",
        "stage": 1,
        "options": {"channels": [8, 8, 8, 8], "layers": [1, 1, 1, 1]},
    },
    "swin_vlp": {
        "image_size": 16,
        "parser": "swin_tiny_patch4_window7_224",
        "options": {"embed_dim": 16, "depths": [1, 1], "num_heads": [1, 2]},
    },
}
"""Numbers of every model."""


def small_encoder(name: str, seed: int = 0, **overrides: object) -> VLEncoder:
    torch.manual_seed(seed)
    encoder = build(name, feature_width=FEATURE_WIDTH, vocab_size=VOCAB, **{**SMALL, **overrides})
    for parameter in encoder.parameters():  # biases and LayerNorms start at 0 and 1, where mistakes do not show
        parameter.data += 0.1 * torch.randn_like(parameter)
    return encoder


def random_batch(lengths=(7, 4, 5), regions=(5, 2, 6), seed: int = 1, feature_width: int = FEATURE_WIDTH) -> Batch:
    """A padded batch; row i has lengths[i] pieces and regions[i] regions, and rubbish in its padding."""
    generator = torch.Generator().manual_seed(seed)
    size, length, count = len(lengths), max(lengths), max(regions)
    corners = torch.rand(size, count, 2, 2, generator=generator).sort(dim=2).values
    return Batch(
        input_ids=torch.randint(VOCAB, (size, length), generator=generator),
        text_mask=torch.arange(length) < torch.tensor(lengths)[:, None],
        token_types=torch.zeros(size, length, dtype=torch.long),
        features=torch.randn(size, count, feature_width, generator=generator),
        boxes=corners.flatten(2),
        region_mask=torch.arange(count) < torch.tensor(regions)[:, None],
    )


def pixel_batch(
    pixel_input: PixelInput, lengths=(7, 4, 5), grids=((2, 3), (2, 2), (4, 2)), seed: int = 1, vocab: int = VOCAB
) -> Batch:
    """A padded batch; row i has lengths[i] pieces and an image of grids[i] rows and columns, rubbish in padding.

    Where the model reads square images, all images have the size it reads.
    """
    if pixel_input.longest is None:
        grids = [(pixel_input.shortest // pixel_input.multiple,) * 2] * len(lengths)
    heights, widths = (torch.tensor(sides) * pixel_input.multiple for sides in zip(*grids, strict=True))
    height, width = int(heights.max()), int(widths.max())
    generator = torch.Generator().manual_seed(seed)
    is_row, is_column = torch.arange(height) < heights[:, None], torch.arange(width) < widths[:, None]
    length = max(lengths)
    return Batch(
        input_ids=torch.randint(vocab, (len(lengths), length), generator=generator),
        text_mask=torch.arange(length) < torch.tensor(lengths)[:, None],
        token_types=torch.zeros(len(lengths), length, dtype=torch.long),
        pixels=torch.randn(len(lengths), 3, height, width, generator=generator),
        pixel_mask=is_row[:, :, None] & is_column[:, None, :],
    )


def batch_for(encoder: VLEncoder, lengths=(7, 4, 5), seed: int = 1) -> Batch:
    """A padded batch of what ``encoder`` reads; the text-only control gets regions, which it ignores."""
    if encoder.pixel_input is not None:
        return pixel_batch(encoder.pixel_input, lengths, seed=seed)
    return random_batch(lengths, seed=seed, feature_width=encoder.feature_width or FEATURE_WIDTH)


def alone(batch: Batch, row: int) -> Batch:
    """Row ``row`` alone, cut to its real tokens and regions or pixels."""
    length = int(batch.text_mask[row].sum())
    if batch.pixel_mask is None:
        return rows(batch, row, length, int(batch.region_mask[row].sum()))
    text, mask = (slice(row, row + 1), slice(length)), batch.pixel_mask[row]
    image = slice(row, row + 1), ..., slice(int(mask[:, 0].sum())), slice(int(mask[0].sum()))
    parts = (batch.input_ids, batch.text_mask, batch.token_types)
    return Batch(*(part[text] for part in parts), pixels=batch.pixels[image], pixel_mask=batch.pixel_mask[image])


def rows(batch: Batch, row: int, length: int, count: int) -> Batch:
    """Row ``row`` alone, cut to its real tokens and regions."""
    text = slice(row, row + 1), slice(length)
    vision = slice(row, row + 1), slice(count)
    return Batch(
        batch.input_ids[text],
        batch.text_mask[text],
        batch.token_types[text],
        batch.features[vision],
        batch.boxes[vision],
        batch.region_mask[vision],
    )


def permuted(batch: Batch, order: torch.Tensor) -> Batch:
    """The same batch with its regions in another order."""
    return replace(
        batch, features=batch.features[:, order], boxes=batch.boxes[:, order], region_mask=batch.region_mask[:, order]
    )
