"""An encoder of ours as a model of transformers, with the same weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from vlp.models.blocks import Attention
from vlp.models.checkpoints import huggingface, vilt
from vlp.models.checkpoints.files import Contents
from vlp.models.encoder import VLEncoder

Config = dict[str, Any]


def to_transformers(encoder: VLEncoder) -> Any:
    """Return a model of transformers with the weights of ``encoder``, in ``eval()``; the tensors are shared.

    Raises:
        ValueError: if transformers has no such model, or not of this shape.
    """
    if encoder.name not in BUILDERS:
        raise ValueError(f"transformers has no {encoder.name}; it has {', '.join(BUILDERS)}")
    with torch.device("meta"):
        theirs = BUILDERS[encoder.name](encoder)
    own = encoder.state_dict()
    shapes = theirs.state_dict()
    contents = Contents(Path(encoder.name), dict(shapes))
    known = vilt.HUGGINGFACE.convert(contents) or huggingface.convert(contents)
    if known is None or known.original.keys() != own.keys():
        differing = sorted(own.keys() ^ (known.original.keys() if known else set()))
        raise ValueError(f"model {encoder.name} differs from transformers' in {', '.join(differing)}")
    tensors = {(key := known.original[name]): tensor.reshape(shapes[key].shape) for name, tensor in own.items()}
    theirs.load_state_dict(tensors, strict=False, assign=True)
    return theirs.eval()


def _bert(encoder: VLEncoder) -> Any:
    return transformers.BertModel(transformers.BertConfig(**_single_stream(encoder)))


def _visualbert(encoder: VLEncoder) -> Any:
    config = transformers.VisualBertConfig(**_single_stream(encoder), visual_embedding_dim=encoder.feature_width)
    return transformers.VisualBertModel(config)


def _lxmert(encoder: VLEncoder) -> Any:
    config = transformers.LxmertConfig(
        **_common(encoder),
        l_layers=_count(encoder, "text_layers"),
        r_layers=_count(encoder, "vision_layers"),
        x_layers=_count(encoder, "cross_layers"),
        visual_feat_dim=encoder.feature_width,
    )
    return transformers.LxmertModel(config)


def _vilt(encoder: VLEncoder) -> Any:
    own = encoder.state_dict()
    patch = own["embeddings.patches.weight"].shape[-1]
    grid = math.isqrt(len(own["embeddings.positions.weight"]))
    config = transformers.ViltConfig(
        **_single_stream(encoder),
        image_size=patch * grid,
        patch_size=patch,
        modality_type_vocab_size=len(own["embeddings.modalities.weight"]),
    )
    return transformers.ViltModel(config)


BUILDERS: dict[str, Callable[[VLEncoder], Any]] = {
    "bert": _bert,
    "lxmert": _lxmert,
    "visualbert": _visualbert,
    "vilt": _vilt,
}
"""By the option of ``conf/model``."""


def _single_stream(encoder: VLEncoder) -> Config:
    return {**_common(encoder), "num_hidden_layers": _count(encoder, "layers")}


def _common(encoder: VLEncoder) -> Config:
    own = encoder.state_dict()
    attention = next(module for module in encoder.modules() if isinstance(module, Attention))
    expand = next(tensor for name, tensor in own.items() if name.endswith("feed_forward.expand.weight"))
    return {
        "vocab_size": encoder.vocab_size,
        "hidden_size": encoder.width,
        "num_attention_heads": encoder.num_heads,
        "intermediate_size": len(expand),
        "max_position_embeddings": encoder.max_positions,
        "type_vocab_size": len(own["embeddings.text.types.weight"]),
        "hidden_dropout_prob": attention.dropout.p,
        "attention_probs_dropout_prob": attention.attention_dropout,
        "layer_norm_eps": attention.norm.eps,
        "initializer_range": encoder.initializer_range,
    }


def _count(encoder: VLEncoder, part: str) -> int:
    """Return how many layers ``encoder.stack`` has in ``part``."""
    start = f"stack.{part}."
    return len({name.removeprefix(start).partition(".")[0] for name in encoder.state_dict() if name.startswith(start)})
