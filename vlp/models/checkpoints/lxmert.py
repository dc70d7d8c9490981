"""LXMERT's released weights (``model_LXRT.pth``): Tan and Bansal, EMNLP 2019. transformers' names behind ``bert.``."""

from __future__ import annotations

from dataclasses import replace

from vlp.models.checkpoints.huggingface import NAMINGS

TRANSFORMERS = next(naming for naming in NAMINGS if naming.model == "lxmert")
NAMING = replace(
    TRANSFORMERS,
    source="lxmert",
    title="LXMERT's release",
    prefixes=("bert.", "lxrt_encoder.model.bert."),  # fine-tuned ones wrap it once more
    left_out=(*TRANSFORMERS.left_out, r"logit_fc\.[023]\."),
)

convert = NAMING.convert
