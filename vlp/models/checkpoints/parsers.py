"""Weights of visual parsers, into the parser alone: Swin of timm and of Microsoft, ResNet of timm."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor

from vlp.models.checkpoints.conversion import Conversion
from vlp.models.checkpoints.files import Contents
from vlp.models.checkpoints.naming import A_BUFFER, plain_names

PARSER = "embeddings.parser.network."
"""Where a parser's network stands in our names; the rest of a name is timm's."""

SWIN = ("patch_embed.proj.weight", "layers.0.blocks.0.attn.relative_position_bias_table")
RESNET = ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight")
EARLY_DOWNSAMPLE = "layers.0.downsample.reduction.weight"
"""Only Microsoft's files have it: there a stage ends with down-sampling, in timm the next one begins with it."""
DOWNSAMPLE = re.compile(r"^layers\.(\d+)\.downsample\.")

BIAS = ".relative_position_bias_table"
BUFFERS = (".relative_position_index", ".attn_mask")
CLASSIFIERS = frozenset(f"{layer}.{part}" for layer in ("head.fc", "head", "fc") for part in ("weight", "bias"))
A_CLASSIFIER = "the classifier of images, which a parser does without"


def convert(contents: Contents) -> Conversion | None:
    """Return the parser's tensors by our names if this is a Swin or a ResNet, else None."""
    names = plain_names(contents.tensors)
    if all(marker in names for marker in SWIN):
        early = EARLY_DOWNSAMPLE in names
        found = _found("swin" if early else "timm", "Swin's release" if early else "timm's Swin")
    elif all(marker in names for marker in RESNET):
        found = _found("timm", "timm's ResNet")
    else:
        return None
    for name, key in names.items():
        if name in CLASSIFIERS:
            found.left_out[key] = A_CLASSIFIER
        elif name.endswith(BUFFERS):
            found.left_out[key] = A_BUFFER
        else:
            ours = PARSER + (_later(name) if found.source == "swin" else name)
            found.tensors[ours], found.original[ours] = contents.tensors[key], key
    return found


def _found(source: str, title: str) -> Conversion:
    return Conversion(source, title, {}, {}, part=PARSER, resize=resized)


def resized(name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
    """Return a Swin's table of biases for windows of another side, as timm interpolates it; all else as it is."""
    is_table = name.endswith(BIAS) and tensor.ndim == len(shape) == 2 and tensor.shape[1] == shape[1]
    if not is_table or tensor.shape == shape or not all(_side(rows) for rows in (len(tensor), shape[0])):
        return tensor
    from timm.layers.pos_embed_rel import resize_rel_pos_bias_table

    side = _side(shape[0])
    table: Tensor = resize_rel_pos_bias_table(tensor, new_window_size=(side, side), new_bias_shape=tuple(shape))
    return table


def _side(rows: int) -> int:
    """Return the side of the windows that a table of so many rows is for: (2 * side - 1) squared; 0 for none."""
    root = math.isqrt(rows)
    return (root + 1) // 2 if root * root == rows and root % 2 else 0


def _later(name: str) -> str:
    """Return timm's name of a weight of Microsoft's."""
    return DOWNSAMPLE.sub(lambda stage: f"layers.{int(stage[1]) + 1}.downsample.", name)
