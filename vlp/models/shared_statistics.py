"""BatchNorm over images of several sizes: one set of statistics in training, taken from what is no padding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

# Axes: B batch, H and W pixels, R rows and C columns of a map, F channels, N real places of a map.

NEIGHBOURS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
"""What mixes a place with those around it."""

KNOWN = (*NEIGHBOURS, _BatchNorm, nn.ReLU, nn.Dropout, nn.Identity)
"""What a network may consist of. Squeeze-and-excitation, for one, would average over padding too."""


def learns_statistics(network: nn.Module) -> bool:
    """Return whether what ``network`` makes of an image depends on its batch, as with BatchNorm in training."""
    return any(isinstance(module, _BatchNorm) and module.training for module in network.modules())


@contextmanager
def shared_statistics(network: nn.Module, mask_BHW: Tensor) -> Iterator[None]:
    """Within it, ``network`` parses images of several sizes in one pass, each as if it had no padding.

    Every BatchNorm sees the real places of all images together, and runs once whatever the sizes are, so that processes
    which synchronise it stay in step. What looks at neighbours sees zeros at padding, as beyond the edge of an image.

    Args:
        network: of convolutions, ReLU and pooling; the sides of images and of their padding are multiples of its
            stride.
        mask_BHW: true at real pixels.

    Raises:
        ValueError: if something in ``network`` would mix an image with its padding in another way.
    """
    _check(network)
    masks: dict[torch.Size, Tensor] = {}

    def real(size: torch.Size) -> Tensor:
        if size not in masks:
            masks[size] = mask_BHW[:, :: mask_BHW.shape[1] // size[0], :: mask_BHW.shape[2] // size[1]]
        return masks[size]

    def hide(module: nn.Module, given: tuple[Tensor, ...]) -> Tensor:
        return given[0].masked_fill(~real(given[0].shape[2:])[:, None], 0.0)

    def gather(module: nn.Module, given: tuple[Tensor, ...]) -> Tensor:
        sizes[module] = given[0].shape[2:]
        return given[0].permute(0, 2, 3, 1)[real(sizes[module])][:, :, None, None]

    def scatter(module: nn.Module, given: tuple[Tensor, ...], found_NF11: Tensor) -> Tensor:
        real_BRC = real(sizes[module])
        empty_BRCF = found_NF11.new_zeros(*real_BRC.shape, found_NF11.shape[1])
        return empty_BRCF.index_put((real_BRC,), found_NF11.flatten(1)).permute(0, 3, 1, 2)

    sizes: dict[nn.Module, torch.Size] = {}
    hooks = []
    for module in network.modules():
        if isinstance(module, NEIGHBOURS):
            hooks.append(module.register_forward_pre_hook(hide))
        elif isinstance(module, _BatchNorm):
            hooks += [module.register_forward_pre_hook(gather), module.register_forward_hook(scatter)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _check(network: nn.Module) -> None:
    for module in network.modules():
        if next(module.children(), None) is None and not isinstance(module, KNOWN):
            raise ValueError(
                f"images of several sizes in one training batch: {type(module).__name__} would mix an image with the "
                "padding beside it; give images of one size, or a network of convolutions, BatchNorm, ReLU and pooling"
            )
        if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
            raise ValueError(
                f"images of several sizes in one training batch: a convolution with padding_mode={module.padding_mode} "
                "would see zeros where an image of its own ends in something else; give images of one size, or a "
                "network whose padding is zeros"
            )
