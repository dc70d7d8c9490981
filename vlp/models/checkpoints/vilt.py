"""ViLT's weights, as released (``.ckpt``) and of transformers: Kim et al., ICML 2021, arXiv:2102.03334."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from vlp.models.checkpoints.conversion import Conversion
from vlp.models.checkpoints.files import Contents
from vlp.models.checkpoints.naming import Naming, Renames, plain_names

QKV = ".attn.qkv."
PARTS = (".attn.query.", ".attn.key.", ".attn.value.")
"""The released file has one projection, its rows in this order."""

TEXT: Renames = (
    ("text_embeddings.word_embeddings.", "text.words."),
    ("text_embeddings.position_embeddings.", "text.positions."),
    ("text_embeddings.token_type_embeddings.", "text.types."),
    ("text_embeddings.LayerNorm.", "text.norm."),
)
TRANSFORMERS: Renames = (
    *TEXT,
    ("embeddings.token_type_embeddings.", "embeddings.modalities."),
    ("embeddings.cls_token", "embeddings.class_token.weight"),
    ("embeddings.position_embeddings", "embeddings.positions.weight"),
    ("embeddings.patch_embeddings.projection.", "embeddings.patches."),
    ("encoder.layer.", "stack.layers."),
    ("attention.attention.", "attention."),
    ("attention.output.dense.", "attention.output."),
    ("layernorm_before.", "attention.norm."),
    ("layernorm_after.", "feed_forward.norm."),
    ("intermediate.dense.", "feed_forward.expand."),
    (".output.dense.", ".feed_forward.contract."),
    ("layernorm.", "stack.norm."),
)
RELEASED: Renames = (
    *((old, f"embeddings.{new}") for old, new in TEXT),
    ("token_type_embeddings.", "embeddings.modalities."),
    ("transformer.cls_token", "embeddings.class_token.weight"),
    ("transformer.pos_embed", "embeddings.positions.weight"),
    ("transformer.patch_embed.proj.", "embeddings.patches."),
    ("transformer.blocks.", "stack.layers."),
    ("transformer.norm.", "stack.norm."),
    (".norm1.", ".attention.norm."),
    (".norm2.", ".feed_forward.norm."),
    (".attn.proj.", ".attention.output."),
    (".attn.", ".attention."),
    (".mlp.fc1.", ".feed_forward.expand."),
    (".mlp.fc2.", ".feed_forward.contract."),
)
HEADS: Renames = (
    ("mlm_score.transform.dense.", "mlm.head.transform.dense."),
    ("mlm_score.transform.LayerNorm.", "mlm.head.transform.norm."),
    ("mlm_score.bias", "mlm.head.bias"),
    ("mlm_score.decoder.bias", "mlm.head.bias"),  # in files of newer code
    ("itm_score.fc.", "itm.head.dense."),
)
TRANSFORMERS_HEADS = (r"classifier\.([013]\.)?", r"rank_output\.")
RELEASED_HEADS = (
    r"(vqa|nlvr2)_classifier\.[013]\.",
    r"rank_output\.",
    r"mpp_score\.(transform\.dense|transform\.LayerNorm|decoder)\.",
)
"""The last asks for masked patches, which the published pre-training does not."""


def rows(tensor: Tensor) -> Tensor:
    """Return a table (N, D) of what the file has as (1, N, D)."""
    return tensor[0] if tensor.ndim == 3 and len(tensor) == 1 else tensor


HUGGINGFACE = Naming(
    "huggingface",
    "vilt",
    "transformers' ViLT",
    ("vilt.", ""),
    ("embeddings.text_embeddings.word_embeddings.weight", "embeddings.patch_embeddings.projection.weight"),
    TRANSFORMERS,
    HEADS,
    {"mlm_score.decoder.weight": "embeddings.text.words.weight"},
    TRANSFORMERS_HEADS,
    changes={"embeddings.class_token.weight": rows, "embeddings.positions.weight": rows},
)
ORIGINAL = replace(
    HUGGINGFACE,
    source="vilt",
    title="ViLT's release",
    prefixes=("",),
    markers=("text_embeddings.word_embeddings.weight", "transformer.patch_embed.proj.weight"),
    renames=RELEASED,
    left_out=RELEASED_HEADS,
)


def convert(contents: Contents) -> Conversion | None:
    """Return what the file holds by our names if it is a ViLT, else None."""
    return HUGGINGFACE.convert(contents) or _original(contents)


def _original(contents: Contents) -> Conversion | None:
    if not all(marker in plain_names(contents.tensors) for marker in ORIGINAL.markers):
        return None
    whole = {}
    tensors = dict(contents.tensors)
    for key in [key for key in tensors if QKV in key]:
        names = [key.replace(QKV, part) for part in PARTS]
        if tensors[key].ndim and len(tensors[key]) % len(PARTS) == 0:
            tensors.update(zip(names, tensors.pop(key).chunk(len(PARTS)), strict=True))
            whole.update(dict.fromkeys(names, key))
    found = ORIGINAL.convert(replace(contents, tensors=tensors))
    return found and replace(found, original={ours: whole.get(key, key) for ours, key in found.original.items()})
