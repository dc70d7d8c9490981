"""Our own checkpoints: Lightning's ``.ckpt``, and encoders exported to safetensors.

A ``.ckpt`` has the encoder under ``encoder.`` and heads under ``objectives.``; an export has the encoder alone. Both
carry a record, a plain dict that says how to build the model again: model, size, vocabulary, features, objective.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from vlp.configs.showing import shown
from vlp.models.building import RELEASED_KEY
from vlp.models.checkpoints.conversion import Conversion
from vlp.models.checkpoints.files import RECORD, Contents, read_contents
from vlp.models.encoder import VLEncoder

SOURCE = "vlp"
ENCODER = "encoder."
HEADS = "objectives."
MARKER = "embeddings.text.words.weight"


def convert(contents: Contents) -> Conversion | None:
    """Return the encoder's tensors if this is a checkpoint of ours, else None."""
    prefix = ENCODER if ENCODER + MARKER in contents.tensors else ""
    if prefix + MARKER not in contents.tensors:
        return None
    heads = {key: value for key, value in contents.tensors.items() if prefix and key.startswith(HEADS)}
    tensors = {key.removeprefix(prefix): value for key, value in contents.tensors.items() if key not in heads}
    model = (contents.record or {}).get("model") or {}
    name = model.get("name", "")
    return Conversion(
        SOURCE,
        f"our {name or 'unnamed'}",
        tensors,
        {key: prefix + key for key in tensors},
        {key.removeprefix(HEADS): value for key, value in heads.items()},
        {key.removeprefix(HEADS): key for key in heads},
        model=name if isinstance(name, str) else "",
        released_behaviour=trained_behaviour(contents.record or {}, contents.path),
    )


def trained_behaviour(record: Mapping[str, Any], path: Path) -> bool | None:
    """Return what a record says of the behaviour its weights were trained with; False where it has a model alone.

    What the weights had stands above what their model's config asked for, where null asks for nothing.

    Raises:
        ValueError: if it says neither true nor false; names ``path``.
    """
    model = record.get("model") or {}
    said = record.get(RELEASED_KEY, model.get(RELEASED_KEY))
    if said is not None and not isinstance(said, bool):
        raise ValueError(f"{path}, record, key {RELEASED_KEY}: found {shown(said)}, expected true, false or null")
    return bool(said) if said is not None or model else None


def read_record(path: str | Path) -> dict[str, Any] | None:
    """Return what a checkpoint of ours says about itself, None for anybody else's.

    Raises:
        FileNotFoundError: if nothing is there.
        ValueError: if the file cannot be read.
    """
    return read_contents(path).record


def export_weights(model: VLEncoder, path: str | Path, record: Mapping[str, Any] | None = None) -> None:
    """Write the encoder alone to a safetensors file, with ``record`` (plain data) in its header.

    Of an encoder whose released code is wrong, the record says whether its weights were trained so: what the weights
    that were loaded say, whatever the encoder was told to do; where none were, what it does.
    """
    if model.embeddings.released_behaviour is not None:
        trained = model.trained_behaviour
        record = {**(record or {}), RELEASED_KEY: model.released_behaviour if trained is None else trained}
    tensors = {key: value.detach().contiguous() for key, value in model.state_dict().items()}
    save_file(tensors, path, metadata=None if record is None else {RECORD: json.dumps(dict(record))})
