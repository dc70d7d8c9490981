"""UNITER's released weights (``uniter-base.pt``, and models fine-tuned from it): Chen et al., ECCV 2020."""

from __future__ import annotations

from torch import Tensor

from vlp.models.checkpoints.naming import (
    FIRST_QUERY,
    SINGLE_STREAM,
    TEXT,
    WORD_COPIES,
    WORD_HEAD,
    WORDS,
    Naming,
    Renames,
)

REGIONS: Renames = (  # before the text's, whose LayerNorm has the same name inside another part
    ("img_embeddings.img_linear.", "embeddings.features."),
    ("img_embeddings.img_layer_norm.", "embeddings.features_norm."),
    ("img_embeddings.pos_linear.", "embeddings.location."),
    ("img_embeddings.pos_layer_norm.", "embeddings.location_norm."),
    ("img_embeddings.mask_embedding.", "embeddings.masked_feature."),
    ("img_embeddings.LayerNorm.", "embeddings.norm."),
)
HEADS: Renames = (
    *WORD_HEAD,
    ("itm_output.", "itm.head.dense."),
    ("region_classifier.net.0.", "mrc_kl.head.transform.dense."),
    ("region_classifier.net.2.", "mrc_kl.head.transform.norm."),
    ("region_classifier.net.3.", "mrc_kl.head.decoder."),
)
FINE_TUNED = ("vqa_output.", "nlvr2_output.", "rank_output.", "re_output.", "vcr_output.", "attn", "fc.")


def masked_row(rows_2F: Tensor) -> Tensor:
    """Return row 1, what a masked region's feature gets; row 0 is set to zero by the released code in each pass."""
    return rows_2F[1:] if rows_2F.ndim == 2 else rows_2F


NAMING = Naming(
    "uniter",
    "uniter",
    "UNITER's release",
    ("uniter.",),
    (WORDS, FIRST_QUERY, "img_embeddings.img_linear.weight"),
    (*REGIONS, *TEXT, *SINGLE_STREAM),
    HEADS,
    {**WORD_COPIES, "feat_regress.weight": "embeddings.features.weight"},
    frozenset({"feat_regress.", *FINE_TUNED}),
    {"embeddings.masked_feature.weight": masked_row},
)

convert = NAMING.convert
