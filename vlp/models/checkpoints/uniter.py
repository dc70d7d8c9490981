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
REGRESSION = r"feat_regress\.(net\.[02]\.)?"
"""Of region features, with the embedding's projection turned round."""
FINE_TUNED = (
    r"(vqa|vcr|re)_output\.[023]\.",
    r"(nlvr2|rank|re)_output\.",
    r"attn[12]\.(in_proj_|out_proj\.)",  # from here on NLVR2's with attention over both halves
    r"fc\.0\.",
    r"attn_pool\.fc\.0\.",
)


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
    (REGRESSION, *FINE_TUNED),
    changes={"embeddings.masked_feature.weight": masked_row},
)

convert = NAMING.convert
