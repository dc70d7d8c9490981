"""Samples of different lengths to one padded `Batch`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vlp.data.pixels import PixelInput
from vlp.data.region_checks import check_shapes, check_values
from vlp.data.sample import Batch, Regions, Sample
from vlp.data.tokenisation import CaptionTokenizer, TokenizedCaption

# Axes: B batch, T text tokens, V regions, F feature width.


@dataclass
class ProbeBatch:
    """What a probe reads: the model's inputs, the samples they come from, and their pieces.

    ``content`` is (B, T) bool, true at word pieces, false at [CLS], [SEP] and padding.
    """

    inputs: Batch
    samples: tuple[Sample, ...]
    tokens: tuple[TokenizedCaption, ...]
    content: Tensor

    def __len__(self) -> int:
        """Return the batch size B."""
        return len(self.samples)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ProbeBatch:
        """Return the batch with the inputs on ``device``; samples stay where they are."""
        moved = self.inputs.to(device, non_blocking), self.content.to(device, non_blocking=non_blocking)
        return replace(self, inputs=moved[0], content=moved[1])


def pad(rows: Sequence[Tensor], value: float = 0) -> Tensor:
    """Return rows of unequal first dimension as one tensor, filled up with ``value`` at the end."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)


def lengths_mask(rows: Sequence[Tensor]) -> Tensor:
    """Return (B, longest) bool, true where a row of ``rows`` has an entry."""
    lengths = torch.tensor([len(row) for row in rows])
    return torch.arange(int(lengths.max()))[None] < lengths[:, None]


def collate_inputs(
    input_ids: Sequence[Tensor],
    token_types: Sequence[Tensor],
    regions: Sequence[Regions | None],
    samples: Sequence[Sample],
    pad_id: int,
    pixel_input: PixelInput | None = None,
    image_of: Tensor | None = None,
) -> Batch:
    """Return the model's inputs; the image side is regions if every sample has them, or pixels if those are asked for.

    Args:
        input_ids: ids of each caption.
        token_types: segments of each caption.
        regions: regions of each image.
        samples: whose images these are: their sizes in pixels, their names for errors.
        pad_id: id of [PAD].
        pixel_input: the pixels that the model reads in the place of regions; None for a model that reads no pixels.
        image_of: of pixels, which of ``samples`` each caption's are, if not its own.

    Raises:
        ValueError: naming the image and sample that has no pixels, or whose regions are none, of the wrong shape, not
            finite, or boxes outside [0, 1], inverted or empty.
    """
    batch = Batch(pad(input_ids, pad_id), lengths_mask(input_ids), pad(token_types))
    batch.image_sizes = torch.tensor([(sample.width, sample.height) for sample in samples])
    if pixel_input is not None:
        batch.pixels, batch.pixel_mask = pixel_input.collate(samples)
        batch.image_of = image_of
        return batch
    present = [r for r in regions if r is not None]
    if len(present) == len(regions):
        check_shapes(present, samples)
        batch.features = pad([r.features for r in present]).float()
        batch.boxes = pad([r.boxes for r in present]).float()
        batch.region_mask = lengths_mask([r.boxes for r in present])
        check_values(batch.features, batch.boxes, batch.region_mask, samples)
        batch.boxes.clamp_(0, 1)
    return batch


def collate_probe(
    samples: Sequence[Sample],
    tokenizer: CaptionTokenizer,
    max_pieces: int | None,
    pixel_input: PixelInput | None = None,
) -> ProbeBatch:
    """Return a probe's batch of ``samples``, with pixels where the model reads those.

    Raises:
        ValueError: naming the sample whose caption is empty or longer than ``max_pieces``.
    """
    tokens = tuple(tokenizer.encode(s.caption, max_pieces, f"sample {s.sample_id or s.image_id}") for s in samples)
    inputs = collate_inputs(
        [t.input_ids for t in tokens],
        [t.token_types for t in tokens],
        [s.regions for s in samples],
        samples,
        tokenizer.pad_id,
        pixel_input,
    )
    return ProbeBatch(inputs, tuple(samples), tokens, pad([~t.special for t in tokens]))
