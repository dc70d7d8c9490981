"""What a training begins with where not all is random: weights of others, in the parts of a model that they are of."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vlp.configs import dotted
from vlp.models.checkpoints.files import FOLDER_FILES
from vlp.models.checkpoints.loading import listed, load_weights, weights_of
from vlp.models.encoder import VLEncoder

log = logging.getLogger(__name__)

WHOLE = "encoder"
TIMM, HUB = "timm:", "hf:"
NOTHING = "timm:none"
"""What a config makes of ``timm:`` and the name of a visual parser that has none."""


def load_initial_weights(encoder: VLEncoder, sources: Mapping[str, Any] | None) -> None:
    """Load weights into parts of an encoder, and say what of them.

    A part is the start of our names of weights, such as ``embeddings.parser``; it has to be there, whole and no more.
    ``encoder`` takes what fits, before all others: of a BERT the text embedding and as many layers as the stack has.

    Args:
        encoder: takes the weights, in place.
        sources: by part, a file or folder in any format that `load_weights` knows, ``timm:NAME.TAG`` or ``hf:NAME`` for
            weights of the hub; None and ``timm:none`` for a part that stays as it is. ``{"a": {"b": FILE}}`` is
            ``{"a.b": FILE}``.

    Raises:
        FileNotFoundError: if nothing is there.
        ValueError: if the model has no such part, before anything is read; if the hub has no such weights or cannot be
            reached, or the weights are not of that part, or not finite.
    """
    named = dotted(sources, "initial_weights", str)
    given = {part: source for part, source in named.items() if source not in (None, NOTHING)}
    for part in given.keys() - {WHOLE}:
        weights_of(encoder, part)
    for part, source in sorted(given.items(), key=lambda item: item[0] != WHOLE):
        path = local_path(source)
        if part != WHOLE:
            load_weights(encoder, path, part=part)
            _check_finite(weights_of(encoder, part), source)
            log.info("%s begins with the weights of %s", part, source)
            continue
        report = load_weights(encoder, path, strict=False)
        _check_finite(encoder.state_dict(), source)
        said = listed("weights stay as they are", report.missing), listed("of the file are left out", report.unexpected)
        log.info("the encoder begins with %s: %s, %s", source, *said)


def _check_finite(weights: Mapping[str, Tensor], source: str) -> None:
    faulty = [name for name, tensor in weights.items() if not tensor.isfinite().all()]
    if faulty:
        raise ValueError(f"{source}: {listed('weights are not finite', faulty)}")


def local_path(source: str) -> Path:
    """Return where the weights of ``source`` are, fetched from the hub into its cache where they are there.

    Raises:
        ValueError: if the hub has none or cannot be reached, or a name of timm has no tag.
    """
    if not source.startswith((TIMM, HUB)):
        return Path(source).expanduser()
    name = source.removeprefix(HUB)
    if source.startswith(TIMM):
        name = "timm/" + source.removeprefix(TIMM)
        if "." not in name:
            raise ValueError(f"{source} has no tag (as in NAME.ms_in1k): which of timm's weights are meant?")
    return _fetched(name, source)


def _fetched(name: str, source: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

    for file in FOLDER_FILES:
        try:
            return Path(hf_hub_download(name, file))
        except (EntryNotFoundError, HFValidationError, OSError) as error:
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                continue  # the hub can be reached, and has no such file there
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{source} cannot be had from the hub, give a file in its place: {reason}") from error
    raise ValueError(f"{source} has neither {' nor '.join(FOLDER_FILES)} on the hub")
