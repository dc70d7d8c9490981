"""Weights of transformers: BERT, VisualBERT, LXMERT, bare or inside their head models.

Read from a folder (``config.json`` with ``model.safetensors`` or ``pytorch_model.bin``) or from the weights file alone.
"""

from __future__ import annotations

from vlp.models.checkpoints.conversion import Conversion
from vlp.models.checkpoints.files import Contents
from vlp.models.checkpoints.naming import (
    FIRST_QUERY,
    LAYER,
    MATCHING_HEAD,
    SINGLE_STREAM,
    TEXT,
    WORD_COPIES,
    WORD_HEAD,
    WORDS,
    Naming,
    Renames,
)

SOURCE = "huggingface"

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
FIRST_VISUAL = "encoder.visn_fc.visn_fc.weight"
BERT_HEADS = (r"cls\.seq_relationship\.", r"classifier\.", r"qa_outputs\.")
"""The first asks for the next sentence, with class 0 for it; the others are of fine-tuned models."""
VISUALBERT_HEADS = (r"cls\.", r"attention\.(query|key|value)\.")
"""Of fine-tuned models: answers or choices, and the region of a phrase."""
LXMERT_HEADS = (
    r"obj_predict_head\.transform\.(dense|LayerNorm)\.",
    r"obj_predict_head\.decoder_dict\.(obj|attr|feat)\.",
    r"answer_head\.logit_fc\.[023]\.",
)
"""Detector classes without background, attributes and features behind one transform; answers."""

NAMINGS = (
    Naming(
        SOURCE,
        "visualbert",
        "transformers' VisualBERT",
        ("visual_bert.", ""),
        (WORDS, FIRST_QUERY, "embeddings.visual_projection.weight"),
        (*TEXT, *VISUAL, *SINGLE_STREAM),
        (*WORD_HEAD, *MATCHING_HEAD),
        WORD_COPIES,
        VISUALBERT_HEADS,
    ),
    Naming(
        SOURCE,
        "lxmert",
        "transformers' LXMERT",
        ("lxmert.", ""),
        (WORDS, FIRST_VISUAL),
        (*TEXT, *DUAL_STREAM),
        (*WORD_HEAD, *MATCHING_HEAD),
        WORD_COPIES,
        LXMERT_HEADS,
    ),
    Naming(
        SOURCE,
        "bert",
        "transformers' BERT",
        ("bert.", ""),
        (WORDS, FIRST_QUERY),
        (*TEXT, *SINGLE_STREAM),
        WORD_HEAD,
        WORD_COPIES,
        BERT_HEADS,
    ),
)


def convert(contents: Contents) -> Conversion | None:
    """Return the encoder's tensors by our names if the file is one of transformers' that we know, else None."""
    conversions = (naming.convert(contents) for naming in NAMINGS)
    return next((conversion for conversion in conversions if conversion is not None), None)
