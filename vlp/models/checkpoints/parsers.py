"""Weights of visual parsers, into the parser alone: Swin of timm and of Microsoft, ResNet of timm."""

from __future__ import annotations

import re

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

BUFFERS = (".relative_position_index", ".attn_mask")
CLASSIFIERS = ("head.", "fc.")
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
        if name.startswith(CLASSIFIERS):
            found.left_out[key] = A_CLASSIFIER
        elif name.endswith(BUFFERS):
            found.left_out[key] = A_BUFFER
        else:
            ours = PARSER + (_later(name) if found.source == "swin" else name)
            found.tensors[ours], found.original[ours] = contents.tensors[key], key
    return found


def _found(source: str, title: str) -> Conversion:
    return Conversion(source, title, {}, {}, part=PARSER)


def _later(name: str) -> str:
    """Return timm's name of a weight of Microsoft's."""
    return DOWNSAMPLE.sub(lambda stage: f"layers.{int(stage[1]) + 1}.downsample.", name)
