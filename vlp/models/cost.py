"""What a visual parser costs, counted from the parser as it was built."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from vlp.models.parsers import Parser

IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class Cost:
    """Multiply-accumulates of one image, which papers call FLOPs, and parameters."""

    macs: int
    parameters: int


@torch.no_grad()
def parser_cost(parser: Parser, image_size: int, num_classes: int = IMAGENET_CLASSES) -> Cost:
    """Return what ``parser`` costs, as papers count it: with the classifier of images it had in its own training.

    Matrix products and convolutions are counted, on tensors without memory; norms, activations and sums are not.

    Args:
        parser: as it was built, on any device; it is left alone.
        image_size: pixels a side.
        num_classes: of the classifier, a linear map of the mean feature; 0 for the parser alone.
    """
    copy = deepcopy(parser).to("meta").eval()
    with FlopCounterMode(display=False) as counter:
        copy(torch.empty(1, 3, image_size, image_size, device="meta"))
    macs = counter.get_total_flops() // 2 + parser.width * num_classes
    parameters = sum(parameter.numel() for parameter in parser.parameters())
    return Cost(macs, parameters + (parser.width + 1) * num_classes)
