"""VisualBERT's released weights (``.th``), and those of MMF, which differ in what stands before the names.

Li et al. 2019, arXiv:1908.03557, released code.
"""

from __future__ import annotations

from vlp.models.checkpoints.naming import (
    FIRST_QUERY,
    MATCHING_HEAD,
    SINGLE_STREAM,
    TEXT,
    WORD_COPIES,
    WORD_HEAD,
    WORDS,
    Naming,
    Renames,
)

REGIONS: Renames = (
    ("embeddings.projection.", "embeddings.features."),
    ("embeddings.position_embeddings_visual.", "embeddings.visual_positions."),
    ("embeddings.token_type_embeddings_visual.", "embeddings.visual_types."),
)

FINE_TUNED = (
    r"classifier\.(1\.|0\.dense\.|0\.LayerNorm\.)?",  # one layer as released, a transform and one of MMF
    r"flickr_attention\.(query|key|value)\.",
)

NAMING = Naming(
    "visualbert",
    "visualbert",
    "VisualBERT's release",
    None,
    (WORDS, FIRST_QUERY, "embeddings.projection.weight", "embeddings.token_type_embeddings_visual.weight"),
    (*REGIONS, *TEXT, *SINGLE_STREAM),
    (*WORD_HEAD, *MATCHING_HEAD),
    WORD_COPIES,
    FINE_TUNED,
    ("detector.",),  # VCR's, which reads pixels
)

convert = NAMING.convert
