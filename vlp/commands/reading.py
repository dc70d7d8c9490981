"""What a model reads of an image, and which data and probes it goes with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from vlp.data.dataset import VLDataset, require
from vlp.models import VLEncoder, build_from_config
from vlp.probes.base import Probe

ANNOTATIONS = {"regions": ("regions",), "pixels": ("pixels",), "text": ()}
"""What the data must have, by `VLEncoder.reads`."""


def require_image(dataset: VLDataset, encoder: VLEncoder) -> None:
    """Check that a dataset has what a model reads of an image.

    Raises:
        ValueError: naming model, dataset and what is missing.
    """
    require(dataset, ANNOTATIONS[encoder.reads], encoder.name, kind="model")


def check_model(
    model: Mapping[str, Any], dataset: VLDataset, kind: type[Probe], needs: Iterable[str], probe: str
) -> None:
    """Refuse a model that a probe cannot be put to, and data without what the model reads, at no cost.

    Args:
        model: a resolved config of the group ``model``.
        dataset: what the probe is to be put to.
        kind: the probe's class.
        needs: the probe's annotations.
        probe: its name, for errors.

    Raises:
        ValueError: naming model and probe, or model and dataset.
    """
    with torch.device("meta"):  # no memory, no random numbers
        encoder = build_from_config(model, dataset.feature_width, vocab_size=1)
    kind.check_encoder(encoder, needs, probe)
    require_image(dataset, encoder)
