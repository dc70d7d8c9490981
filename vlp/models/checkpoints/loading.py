"""`load_weights`: any known file into an encoder, with an account of what did not fit."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from vlp.configs import option_names, read_option
from vlp.models.checkpoints import huggingface, lxmert, uniter, visualbert, vlp
from vlp.models.checkpoints.conversion import Conversion
from vlp.models.checkpoints.files import Contents, read_contents
from vlp.models.encoder import VLEncoder

log = logging.getLogger(__name__)

FORMATS = (vlp.convert, uniter.convert, lxmert.convert, visualbert.convert, huggingface.convert)
"""Each returns a `Conversion` of files it knows, None of others; the first that does is believed."""
KNOWN = "ours; UNITER, LXMERT, VisualBERT as released; transformers' BERT, VisualBERT, LXMERT"
WORDS = "embeddings.text.words.weight"
TYPES = "embeddings.text.types.weight"
FEATURES = "embeddings.features.weight"
NAMES_SHOWN = 5


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did.

    Args:
        missing: our names of weights that the file lacks; they keep what they had.
        unexpected: the file's names of weights that the model lacks; prediction heads are not among them.
        source: the format: vlp, huggingface, uniter, lxmert, visualbert.
        heads: our names of prediction heads that the file has for objectives of ours; `read_heads` gives them.
        left_out: the file's names of what nothing of ours takes, and why.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    source: str
    heads: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


def load_weights(model: VLEncoder, path: str | Path, strict: bool = True) -> LoadReport:
    """Load an encoder's weights from a file or folder in any format we know, without being told which.

    Weights are cast to the model's type; prediction heads are passed over.

    Args:
        model: takes the weights, in place.
        path: a file, or a folder with ``model.safetensors`` or ``pytorch_model.bin``.
        strict: refuse a file that lacks a weight or has one too many.

    Raises:
        FileNotFoundError: if nothing is there.
        ValueError: if the file is damaged, of unknown format, of other shapes, or (``strict``) does not fit exactly.
    """
    return load_contents(model, read_contents(path), strict)


def load_contents(model: VLEncoder, contents: Contents, strict: bool = True) -> LoadReport:
    """Load what has been read of a file; as `load_weights`."""
    conversion = convert(contents)
    own = model.state_dict()
    fitting = {name: tensor for name, tensor in conversion.tensors.items() if name in own}
    _check_shapes(model, own, fitting, contents.path)
    report = LoadReport(
        missing=tuple(name for name in own if name not in fitting and name.startswith(conversion.part)),
        unexpected=tuple(sorted(conversion.original[name] for name in conversion.tensors if name not in own)),
        source=conversion.source,
        heads=tuple(conversion.heads),
        left_out=conversion.left_out,
    )
    if strict and (report.missing or report.unexpected):
        raise ValueError(
            f"{contents.path} ({conversion.description}) does not fit model {model.name!r}: "
            f"{listed('missing', report.missing)}, {listed('unexpected', report.unexpected)}; "
            "strict=False loads what fits"
        )
    _warn_of_behaviour(model, conversion, contents.path)
    model.load_state_dict(fitting, strict=False)
    return report


def read_heads(path: str | Path) -> dict[str, Tensor]:
    """Return the prediction heads in a file that objectives of ours have, by their names, as ``itm.head.dense.bias``.

    Class 1 of a matching head is "matched", whatever the file has.

    Raises:
        FileNotFoundError, ValueError: as `load_weights`.
    """
    return convert(read_contents(path)).heads


def convert(contents: Contents) -> Conversion:
    """Return what a file holds by our names.

    Raises:
        ValueError: if it is in no format we know.
    """
    for known in FORMATS:
        conversion = known(contents)
        if conversion is not None:
            return conversion
    names = ", ".join(list(contents.tensors)[:NAMES_SHOWN])
    raise ValueError(
        f"{contents.path} is in no format we know ({KNOWN}): "
        f"it has {len(contents.tensors)} tensors, the first being {names}"
    )


def _warn_of_behaviour(model: VLEncoder, conversion: Conversion, path: Path) -> None:
    trained, built = conversion.released_behaviour, model.released_behaviour
    if trained is not None and trained != built:
        log.warning(
            "%s (%s) was trained with released_behaviour=%s and model %s is built with %s: its outputs are not those "
            "of the trained model; model.released_behaviour=%s follows the weights",
            *(path, conversion.description, _said(trained), repr(model.name), _said(built), _said(trained)),
        )


def _said(value: bool) -> str:
    return str(value).lower()


def _check_shapes(model: VLEncoder, own: dict[str, Tensor], found: dict[str, Tensor], path: Path) -> None:
    for name, expected in own.items():
        if name in found and found[name].shape != expected.shape:
            raise ValueError(
                f"{name} is {tuple(found[name].shape)} in {path} and {tuple(expected.shape)} in model {model.name!r}"
                f"{_advice(model, own, found)}"
            )


def _advice(model: VLEncoder, own: dict[str, Tensor], found: dict[str, Tensor]) -> str:
    """Say with what arguments the model would probably fit."""
    words, types, features = (found.get(name) for name in (WORDS, TYPES, FEATURES))
    if any(tensor is not None and tensor.ndim != 2 for tensor in (words, types, features)):
        return ""
    if words is not None and words.shape[1] != model.width:
        sizes = [size for size in option_names("size") if read_option("size", size)["width"] == words.shape[1]]
        return f": the file's width is {words.shape[1]}, {'as in size=' + sizes[0] if sizes else 'which no size has'}"
    if words is not None and len(words) != model.vocab_size:
        return f": build the model with vocab_size={len(words)}"
    if features is not None and features.shape[1] != model.feature_width:
        return f": build the model with feature_width={features.shape[1]}"
    if types is not None and len(types) != len(own[TYPES]):
        return f": build the model with model.embeddings.types={len(types)}"
    return ""


def listed(word: str, names: Sequence[str]) -> str:
    """Return how many names there are, what they are, and the first of them."""
    shown = ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
    return f"{len(names)} {word}" + (f" ({shown})" if names else "")
