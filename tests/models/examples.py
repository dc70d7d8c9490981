"""Small encoders and batches that the tests of models and observers share."""

from dataclasses import replace
from pathlib import Path

import torch

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
}


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
