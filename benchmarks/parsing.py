"""The visual parser with its last map beside timm's forward, and one image with four texts beside four images.

Swin-T of 224 pixels; below words of 16 pieces and 12 layers of BERT's size. timm's Swin does not use fused attention
unless asked to, and then keeps no map.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import timm
import torch
from torch import Tensor

from benchmarks.goals import Goal
from benchmarks.timing import Contenders, Times, batches_on, clock_of, interleave, ratio
from vlp.data.sample import Batch
from vlp.models import VLEncoder, build
from vlp.models.parsers import SwinParser

# Axes: B pairs, I images, T text tokens, H and W pixels.

NAME, SIDE, TEXTS, LENGTH = "swin_tiny_patch4_window7_224", 224, 4, 16
IMAGES = 8
"""Of a forward; with four texts each, one image is read. A GPU gets more of either."""
ROUNDS = 7


def measure(rounds: int | None = None, device: str = "cpu") -> list[Goal]:
    """Return what the parser and its map cost, and what parsing an image once saves."""
    return [*_map(rounds or ROUNDS, device), *_texts(rounds or ROUNDS, device)]


def _map(rounds: int, device: str) -> list[Goal]:
    contenders = parsers(NAME, SIDE, IMAGES * batches_on(device), device)
    times = interleave(contenders, rounds, clock_of(device))
    return [
        Goal.of_ratio("Swin-T 224 with its last map / timm's default", ratio(times, "with map", "timm"), 0.82),
        Goal.of_ratio("Swin-T 224 with its last map / without", ratio(times, "with map", "without"), 1.015),
    ]


def parsers(name: str, side: int, images: int, device: str = "cpu", **options: Any) -> Contenders:
    """Return forwards of one network: timm's as it comes, ours, and ours with the last map."""
    peer = timm.create_model(name, pretrained=False, num_classes=0, img_size=side, **options).eval()
    ours = SwinParser(name, side, options=options).eval()
    ours.network.load_state_dict(peer.state_dict())
    peer, ours = peer.to(device), ours.to(device)
    pixels = torch.randn(images, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    runs: Contenders = {"timm": peer.forward_features, "without": ours, "with map": ours.parse}
    return {name: partial(_without_gradient, run, pixels) for name, run in runs.items()}


def _without_gradient(run: Callable[[Tensor], object], pixels: Tensor) -> object:
    with torch.inference_mode():
        return run(pixels)


def _texts(rounds: int, device: str) -> list[Goal]:
    model = build("swin_vlp", size="base", swin_vlp={"parser": NAME, "image_size": SIDE, "options": {}}).to(device)
    times: Times = interleave(readers(model, SIDE, batches_on(device), device), rounds, clock_of(device))
    goal = "an image with four texts, parsed once / four times"
    return [
        Goal.of_ratio(f"{goal}, forward", ratio(times, "once", "four times"), 0.54),
        Goal.of_ratio(f"{goal}, forward and backward", ratio(times, "once, backward", "four times, backward"), 0.54),
    ]


def readers(model: VLEncoder, side: int, images: int = 1, device: str = "cpu") -> Contenders:
    """Return passes over images with four texts that parse them once, and that parse them for every text."""
    once, repeated = (batch.to(device) for batch in texts_of_images(images, side, model.vocab_size))
    return {
        "once": partial(forward, model, once),
        "four times": partial(forward, model, repeated),
        "once, backward": partial(backward, model, once),
        "four times, backward": partial(backward, model, repeated),
    }


def texts_of_images(
    images: int, side: int, vocab_size: int, texts: int = TEXTS, length: int = LENGTH
) -> tuple[Batch, Batch]:
    """Return texts with each of some images, and the same with a copy of the image for each text."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocab_size, (images * texts, length), generator=generator)
    text = ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids)
    pixels = torch.randn(images, 3, side, side, generator=generator)
    mask = torch.ones(images, side, side, dtype=torch.bool)
    image_of = torch.arange(images).repeat_interleave(texts)
    once = Batch(*text, pixels=pixels, pixel_mask=mask, image_of=image_of)
    return once, Batch(*text, pixels=pixels[image_of], pixel_mask=mask[image_of])


def forward(model: VLEncoder, batch: Batch) -> Tensor:
    """Return the last states of the texts and of the image, without gradient."""
    with torch.inference_mode():
        return _states(model, batch)


def backward(model: VLEncoder, batch: Batch) -> float:
    """Run forward and backward; return the norm of what the parser's first weights get."""
    model.zero_grad(set_to_none=True)
    _states(model, batch).square().mean().backward()
    first = next(model.embeddings.parser.parameters())
    assert first.grad is not None
    return first.grad.norm().item()


def _states(model: VLEncoder, batch: Batch) -> Tensor:
    encoding = model(batch)
    assert encoding.vision is not None
    return torch.cat([encoding.text, encoding.vision], dim=1)
