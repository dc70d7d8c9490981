"""Visual parsers: backbones of timm that turn pixels into a grid of features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.layers.patch_embed import PatchEmbed
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn
from torch.nn import functional

# Axes: B batch, H and W pixels, R rows and C columns of cells, V = R * C, H heads, F feature width.


class Parser(nn.Module, ABC):
    """What parses an image: ``network`` is timm's, with timm's own names of weights and initial values.

    Attributes:
        width: F.
        stride: pixels of a cell's side.
    """

    width: int
    stride: int
    network: Any  # timm's networks have attributes that nn.Module does not declare

    @abstractmethod
    def create(self) -> Any:
        """Return the network with random weights."""

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor:
        """Return features (B, R, C, F) for pixels (B, 3, H, W)."""

    def initialise(self) -> None:
        """Draw the weights as timm does."""
        self.network.load_state_dict(self.create().state_dict())


class SwinParser(Parser):
    """Swin Transformer without its head (Liu et al., ICCV 2021, arXiv:2103.14030): the last map, after its LayerNorm.

    Its last block has to see the whole map at once, unshifted: masked feature regression masks what it attends to
    together (Xue et al., NeurIPS 2021). A model of 224 pixels that is built for 384 with its window left at 7 does not.

    Args:
        name: of timm's model, such as ``swin_tiny_patch4_window7_224``; weights are loaded by `load_weights`.
        image_size: pixels a side, a multiple of a cell's; images are square.
        window: cells a side of a window; None for the side of the last map.
        drop_path: largest rate of dropping a residual branch in training.
        options: other arguments of timm's model, where they are not what ``name`` says: ``depths``, ``embed_dim``, ...
        fused: whether attention is fused, which timm's Swin leaves off unless told to.

    Raises:
        ValueError: if timm has no Swin Transformer (the first version) of that name and these options, if cells do not
            make up the image, or if the last block's window is not the last map, unshifted.
    """

    def __init__(
        self,
        name: str,
        image_size: int,
        window: int | None = None,
        drop_path: float = 0.1,
        options: Mapping[str, Any] | None = None,
        fused: bool = True,
    ) -> None:
        super().__init__()
        self.name, self.image_size, self.window, self.drop_path = name, image_size, window, drop_path
        self.options, self.fused = dict(options or {}), fused
        self.network = self.create()
        self.width = self.network.num_features
        self.stride = self.network.feature_info[-1]["reduction"]

    def create(self) -> Any:
        """Return the network with random weights, looking at whole maps in its last block."""
        with torch.device("meta"):
            plan = self._built()
        self._check_size(plan.feature_info[-1]["reduction"])
        window = plan.layers[-1].blocks[-1].input_resolution[0] if self.window is None else self.window
        return self._checked(self._built(window_size=window))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features (B, R, C, F).

        Raises:
            ValueError: if the pixels have another size than the network was built for.
        """
        height, width = pixels.shape[-2:]
        if (height, width) != (self.image_size, self.image_size):
            raise ValueError(
                f"{self.name} was built for {self.image_size} pixels a side, the batch's are {width} x {height}"
            )
        return self.network.forward_features(pixels)

    def parse(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, R, C, F) and what the last block's cells attend to, (B, V, V) float32, row by row.

        The map is of the same pass, dropped branches included: the mean over heads, without gradient, a query's row
        summing to 1.
        """
        found: list[Tensor] = []

        def look(attention: Any, args: tuple[Tensor, ...], kwargs: dict[str, Tensor | None]) -> None:
            found[:] = [attention_weights(attention, args[0]).mean(1)]

        handle = self.network.layers[-1].blocks[-1].attn.register_forward_pre_hook(look, with_kwargs=True)
        try:
            features = self.forward(pixels)
        finally:
            handle.remove()
        return features, found[0]

    def _built(self, **options: Any) -> Any:
        own = {"img_size": self.image_size, "drop_path_rate": self.drop_path, "num_classes": 0}
        try:
            network: Any = timm.create_model(self.name, pretrained=False, **{**own, **self.options, **options})
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            raise self._no_swin(f"timm says {error}") from error
        if not isinstance(network, SwinTransformer):
            raise self._no_swin(f"that is a {type(network).__name__}")
        module: Any
        for module in network.modules():
            if hasattr(module, "fused_attn"):  # timm asks its own global setting, when it builds
                module.fused_attn = self.fused
        return network

    def _no_swin(self, found: str) -> ValueError:
        expected = "the name of a Swin Transformer of timm (the first version), with options of its own"
        return ValueError(f"size.swin_vlp.parser={self.name}: {found}; expected {expected}")

    def _check_size(self, stride: int) -> None:
        below = self.image_size // stride * stride
        if below != self.image_size or not below:
            nearest = " or ".join(str(size) for size in (below, below + stride) if size)
            raise ValueError(
                f"size.swin_vlp.image_size={self.image_size}: expected a multiple of {stride}, the pixels of a cell of "
                f"{self.name}, such as {nearest}"
            )

    def _checked(self, network: Any) -> Any:
        last = network.layers[-1].blocks[-1]
        side, window, shift = last.input_resolution, last.window_size, last.shift_size
        if tuple(window) != tuple(side) or any(shift):
            raise ValueError(
                f"{self.name} at {self.image_size} pixels: the last block has windows of {window[0]} x {window[1]} "
                f"cells, shifted by {shift[0]}, expected one of {side[0]} x {side[1]}: give window={side[0]} or null"
            )
        return network


@torch.no_grad()
def attention_weights(attention: Any, window_BVF: Tensor) -> Tensor:
    """Return the weights (B, H, V, V) that timm's ``WindowAttention`` gives to unshifted windows.

    Computed again from its input, in float32 also under autocast: the module keeps no weights, and with fused attention
    never has any. Its rows of ``qkv`` are queries, keys, values, head by head.
    """
    with torch.autocast(window_BVF.device.type, enabled=False):
        size = attention.qkv.out_features // 3
        bias = None if attention.qkv.bias is None else attention.qkv.bias[: 2 * size].float()
        both = functional.linear(window_BVF.float(), attention.qkv.weight[: 2 * size].float(), bias)
        queries, keys = both.unflatten(-1, (2, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
        scores = attention.scale * queries @ keys.mT + attention._get_rel_pos_bias().float()
        return scores.softmax(-1)


class ConvolutionalParser(Parser):
    """A convolutional network of timm up to one of its stages, then max pooling.

    Args:
        name: of timm's model, such as ``resnet101``; weights are loaded by `load_weights`.
        stage: whose map is taken, from 1 (stride 4 in a ResNet) to 4 (stride 32).
        pool: cells a side that max pooling makes one of; 1 for none. SOHO has 2.
        options: other arguments of timm's model, where they are not what ``name`` says.
    """

    def __init__(self, name: str, stage: int = 4, pool: int = 1, options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.name, self.stage, self.pool = name, stage, pool
        self.options = dict(options or {})
        self.network = self.create()
        self.width = self.network.feature_info.channels()[-1]
        self.stride = self.network.feature_info.reduction()[-1] * pool

    def create(self) -> Any:
        """Return the network with random weights, without the stages above the one that is taken."""
        return timm.create_model(
            self.name, pretrained=False, features_only=True, out_indices=(self.stage,), **self.options
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features (B, R, C, F)."""
        map_BFRC = self.network(pixels)[-1]
        if self.pool > 1:
            map_BFRC = functional.max_pool2d(map_BFRC, self.pool)
        return map_BFRC.permute(0, 2, 3, 1)


class PatchParser(Parser):
    """A linear map of each patch, as in ViLT (Kim et al., ICML 2021, arXiv:2102.03334): cells that saw nothing else.

    Args:
        stride: pixels of a patch's side.
        width: F.
    """

    def __init__(self, stride: int, width: int) -> None:
        super().__init__()
        self.stride, self.width = stride, width
        self.network = self.create()

    def create(self) -> Any:
        """Return the map with random weights."""
        return PatchEmbed(None, self.stride, embed_dim=self.width, output_fmt="NHWC")

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features (B, R, C, F)."""
        cells: Tensor = self.network(pixels)
        return cells
