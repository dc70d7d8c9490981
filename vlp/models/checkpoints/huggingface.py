"""Weights of transformers: BERT, VisualBERT, LXMERT, bare or inside their head models.

Read from a folder (``config.json`` with ``model.safetensors`` or ``pytorch_model.bin``) or from the weights file alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vlp.models.checkpoints.conversion import Conversion
from vlp.models.checkpoints.files import Contents

SOURCE = "huggingface"

Renames = tuple[tuple[str, str], ...]

OLD_NORM_NAMES: Renames = ((".gamma", ".weight"), (".beta", ".bias"))
"""LayerNorm's parameters in files converted from TensorFlow."""

TEXT: Renames = (
    ("embeddings.word_embeddings.", "embeddings.text.words."),
    ("embeddings.position_embeddings.", "embeddings.text.positions."),
    ("embeddings.token_type_embeddings.", "embeddings.text.types."),
    ("embeddings.LayerNorm.", "embeddings.text.norm."),
)
LAYER: Renames = (
    ("attention.self.", "attention."),
    ("attention.output.dense.", "attention.output."),
    ("attention.output.LayerNorm.", "attention.norm."),
    ("intermediate.dense.", "feed_forward.expand."),
    (".output.dense.", ".feed_forward.contract."),
    (".output.LayerNorm.", ".feed_forward.norm."),
)
SINGLE_STREAM: Renames = (("encoder.layer.", "stack.layers."), *LAYER)
VISUAL: Renames = (
    ("embeddings.visual_projection.", "embeddings.features."),
    ("embeddings.visual_position_embeddings.", "embeddings.visual_positions."),
    ("embeddings.visual_token_type_embeddings.", "embeddings.visual_types."),
)
CROSS: Renames = (
    ("visual_attention.att.", "cross_attention."),
    ("visual_attention.output.dense.", "cross_attention.output."),
    ("visual_attention.output.LayerNorm.", "cross_attention.norm."),
    ("lang_self_att.", "text.attention."),
    ("visn_self_att.", "vision.attention."),
    ("lang_inter.", "text.intermediate."),
    ("visn_inter.", "vision.intermediate."),
    ("lang_output.", "text.output."),
    ("visn_output.", "vision.output."),
)
DUAL_STREAM: Renames = (
    ("encoder.visn_fc.visn_fc.", "embeddings.features."),
    ("encoder.visn_fc.visn_layer_norm.", "embeddings.features_norm."),
    ("encoder.visn_fc.box_fc.", "embeddings.location."),
    ("encoder.visn_fc.box_layer_norm.", "embeddings.location_norm."),
    *CROSS,
    ("encoder.layer.", "stack.text_layers."),
    ("encoder.r_layers.", "stack.vision_layers."),
    ("encoder.x_layers.", "stack.cross_layers."),
    *LAYER,
)

BARE_PARTS = frozenset({"embeddings", "encoder", "pooler"})
HEAD_PARTS = frozenset({"cls", "classifier", "qa_outputs", "attention", "obj_predict_head", "answer_head"})
"""First part of the names of prediction heads, outside the prefix of the encoder."""
BUFFERS = frozenset({"embeddings.position_ids", "embeddings.token_type_ids"})


@dataclass(frozen=True)
class Naming:
    """How transformers names the weights of one architecture.

    Args:
        architecture: for messages.
        prefix: before every encoder weight in a model with heads.
        markers: names (after the prefix) that a file must have to be this architecture.
        renames: replacements of substrings, in order.
    """

    architecture: str
    prefix: str
    markers: tuple[str, ...]
    renames: Renames

    def convert(self, contents: Contents) -> Conversion | None:
        """Return the encoder's tensors by our names if the file is of this architecture, else None."""
        names = {_modern(key): key for key in contents.tensors}
        prefix = self.prefix if any(name.startswith(self.prefix) for name in names) else ""
        if not all(prefix + marker in names for marker in self.markers):
            return None
        original = {self._rename(name, prefix): key for name, key in names.items() if not _is_left_out(name, prefix)}
        tensors: dict[str, Tensor] = {name: contents.tensors[key] for name, key in original.items()}
        return Conversion(SOURCE, f"transformers' {self.architecture}", tensors, original)

    def _rename(self, name: str, prefix: str) -> str:
        name = name.removeprefix(prefix)
        for old, new in self.renames:
            name = name.replace(old, new)
        return name


def _modern(key: str) -> str:
    for old, new in OLD_NORM_NAMES:
        if key.endswith(old):
            return key.removesuffix(old) + new
    return key


def _is_left_out(name: str, prefix: str) -> bool:
    """Whether ``name`` is a prediction head's or a buffer that holds no weight."""
    is_head = bool(prefix) and not name.startswith(prefix) and name.partition(".")[0] in HEAD_PARTS
    return is_head or name.removeprefix(prefix) in BUFFERS


WORDS = "embeddings.word_embeddings.weight"
FIRST_QUERY = "encoder.layer.0.attention.self.query.weight"

NAMINGS = (
    Naming(
        "VisualBERT",
        "visual_bert.",
        (WORDS, FIRST_QUERY, "embeddings.visual_projection.weight"),
        (*TEXT, *VISUAL, *SINGLE_STREAM),
    ),
    Naming("LXMERT", "lxmert.", (WORDS, "encoder.visn_fc.visn_fc.weight"), (*TEXT, *DUAL_STREAM)),
    Naming("BERT", "bert.", (WORDS, FIRST_QUERY), (*TEXT, *SINGLE_STREAM)),
)


def convert(contents: Contents) -> Conversion | None:
    """Return the encoder's tensors by our names if the file is one of transformers' that we know, else None."""
    conversions = (naming.convert(contents) for naming in NAMINGS)
    return next((conversion for conversion in conversions if conversion is not None), None)
