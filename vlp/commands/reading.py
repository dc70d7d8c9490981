"""What a model reads of an image, and which data and probes that goes with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from vlp.data.dataset import VLDataset, require
from vlp.models import VLEncoder, build_from_config

ANNOTATIONS = {"regions": ("regions",), "pixels": ("pixels",), "text": ()}
"""What the data must have, by `VLEncoder.reads`."""


def require_image(dataset: VLDataset, encoder: VLEncoder) -> None:
    """Check that a dataset has what a model reads of an image.

    Raises:
        ValueError: naming model, dataset and what is missing.
    """
    require(dataset, ANNOTATIONS[encoder.reads], encoder.name, kind="model")


def require_tokens(encoder: VLEncoder, needs: Iterable[str], probe: str) -> None:
    """Check that a model has the tokens that a probe looks at.

    Args:
        encoder: the model.
        needs: the probe's annotations; with regions among them it looks at the tokens of regions.
        probe: its name, for errors.

    Raises:
        ValueError: naming model and probe.
    """
    if "regions" in needs and encoder.reads != "regions":
        raise ValueError(
            f"model {encoder.name} reads {encoder.reads} and has no region tokens; probe {probe} needs them"
        )


def check_model(model: Mapping[str, Any], dataset: VLDataset, needs: Iterable[str], probe: str) -> None:
    """Refuse a model without the tokens that a probe looks at, and data without what the model reads, at no cost.

    Args:
        model: a resolved config of the group ``model``.
        dataset: what the probe is to be put to.
        needs: the probe's annotations.
        probe: its name, for errors.

    Raises:
        ValueError: naming model and probe, or model and dataset.
    """
    with torch.device("meta"):  # no memory, no random numbers
        encoder = build_from_config(model, dataset.feature_width, vocab_size=1)
    require_tokens(encoder, needs, probe)
    require_image(dataset, encoder)
