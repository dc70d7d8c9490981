"""`load_weights`: any known file into an encoder, with an account of what did not fit."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from vlp.configs import did_you_mean, option_names, read_option
from vlp.configs.showing import spelt
from vlp.models.building import build
from vlp.models.checkpoints import huggingface, lxmert, parsers, uniter, vilt, visualbert, vlp, volta
from vlp.models.checkpoints.conversion import Conversion
from vlp.models.checkpoints.files import Contents, read_contents
from vlp.models.embeddings.vl_bert import COORDINATES, WAVES
from vlp.models.encoder import VLEncoder

log = logging.getLogger(__name__)

FORMATS = (
    vlp.convert,
    volta.convert,
    uniter.convert,
    lxmert.convert,
    visualbert.convert,
    vilt.convert,
    huggingface.convert,
    parsers.convert,
)
"""Each returns a `Conversion` of files it knows, None of others; the first that does is believed."""
KNOWN = (
    "ours; UNITER, LXMERT, VisualBERT, ViLT as released; VOLTA's; transformers' BERT, VisualBERT, LXMERT, ViLT; "
    "Swin and ResNet of timm, Swin as released"
)
WORDS = "embeddings.text.words.weight"
ROWS = {
    "embeddings.text.types.weight": "model.embeddings.types",
    "embeddings.modalities.weight": "model.embeddings.modalities",
    "embeddings.text.positions.weight": "model.embeddings.positions",
    "pooler.text.weight": "model.pooler.width",
}
"""Tensors whose rows no size gives, or which differ between tasks, and what says how many there are."""
FEATURES = {"embeddings.features.weight": 0, "embeddings.look.1.weight": 2 * COORDINATES * WAVES}
"""What projects region features, and how many numbers of its input are others: VL-BERT's waves of a box."""
NAMES_SHOWN = 5


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did.

    Args:
        missing: our names of weights that the file lacks; they keep what they had.
        unexpected: the file's names of weights that the model lacks; prediction heads are not among them.
        source: the format: vlp, huggingface, uniter, lxmert, visualbert, volta, vilt, timm, swin.
        heads: our names of prediction heads that the file has for objectives of ours; `read_heads` gives them.
        left_out: the file's names of what nothing of ours takes, and why.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    source: str
    heads: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


def load_weights(model: VLEncoder, path: str | Path, strict: bool = True, part: str = "") -> LoadReport:
    """Load an encoder's weights from a file or folder in any format we know, without being told which.

    Weights are cast to the model's type; prediction heads are passed over.

    Args:
        model: takes the weights, in place.
        path: a file, or a folder with ``model.safetensors`` or ``pytorch_model.bin``.
        strict: refuse a file that lacks a weight or has one too many.
        part: how the names of what is to be loaded begin, such as ``embeddings.parser``; all else keeps what it has.
            A file of a visual parser alone has to be given so.

    Raises:
        FileNotFoundError: if nothing is there.
        ValueError: if the file is damaged, of unknown format, of other shapes, or (``strict``) does not fit exactly; if
            it is of another part.
    """
    return load_contents(model, read_contents(path), strict, part)


def load_contents(model: VLEncoder, contents: Contents, strict: bool = True, part: str = "") -> LoadReport:
    """Load what has been read of a file; as `load_weights`."""
    conversion = convert(contents)
    own = weights_of(model, part)
    _check_part(conversion, part, contents.path)
    resize = conversion.resize or (lambda name, tensor, shape: tensor)
    fitting = {name: resize(name, found, own[name].shape) for name, found in conversion.tensors.items() if name in own}
    _check_shapes(model, own, fitting, contents.path, conversion, part)
    report = LoadReport(
        missing=tuple(name for name in own if name not in fitting),
        unexpected=tuple(
            sorted(
                {conversion.original[name] for name in conversion.tensors.keys() - own.keys() if name.startswith(part)}
            )
        ),
        source=conversion.source,
        heads=tuple(conversion.heads),
        left_out=conversion.left_out,
    )
    if strict and (report.missing or report.unexpected):
        raise ValueError(
            f"{contents.path} ({conversion.description}) does not fit model {model.name!r}: "
            f"{listed('missing', report.missing)}, {listed('unexpected', report.unexpected)}; "
            "strict=False loads what fits"
            f"{(not part and _other_model(model, own, conversion)) or _built(conversion)}"
        )
    if not part and conversion.released_behaviour is not None:
        follow(model, conversion.released_behaviour, f"{contents.path} ({conversion.description})")
    model.load_state_dict(fitting, strict=False)
    return report


def weights_of(model: VLEncoder, part: str) -> dict[str, Tensor]:
    """Return a model's weights whose names begin with ``part``.

    Raises:
        ValueError: if there are none.
    """
    own = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(part)}
    if not own:
        known = {".".join(name.split(".")[:depth]) for name in model.state_dict() for depth in (1, 2)}
        raise ValueError(f"model {model.name!r} has no part {part!r}{did_you_mean(part, sorted(known))}")
    return own


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
    names = ", ".join(map(spelt, list(contents.tensors)[:NAMES_SHOWN]))
    raise ValueError(
        f"{contents.path} is in no format we know ({KNOWN}): "
        f"it has {len(contents.tensors)} tensors, the first being {names}"
    )


def _check_part(conversion: Conversion, part: str, path: Path) -> None:
    if conversion.part and not (part and conversion.part.startswith(part)):
        where = f"part={part!r} was asked for" if part else "the rest would stay as it is"
        raise ValueError(
            f"{path} ({conversion.description}) holds {conversion.part} alone, {where}: "
            f"load_weights(model, path, part={conversion.part!r}) loads it there"
        )


def follow(model: VLEncoder, trained: bool, weights: str) -> None:
    """Make the model do what its ``weights`` were trained with, or warn where it was told to do otherwise."""
    model.follow(trained)
    if model.embeddings.released_behaviour not in (None, trained):
        log.warning(
            "%s was trained with released_behaviour=%s and model %s was told to have it %s: its outputs are not "
            "those of the trained model; model.released_behaviour=null follows the weights",
            *(weights, _said(trained), repr(model.name), _said(model.released_behaviour)),
        )


def _said(value: bool) -> str:
    return str(value).lower()


def _other_model(model: VLEncoder, own: dict[str, Tensor], conversion: Conversion) -> str:
    """Say that a file is of another model; not of one whose weights this model all has, as BERT's, and more."""
    if conversion.model in ("", model.name) or conversion.tensors.keys() < own.keys():
        return ""
    return f": the file is of another model, {conversion.model!r} ({conversion.asked} for commands)"


def _built(conversion: Conversion) -> str:
    """Say with which keys the model is built, where its option alone is not it."""
    return f": build the model with {conversion.asked}" if conversion.options else ""


def _check_shapes(
    model: VLEncoder, own: dict[str, Tensor], found: dict[str, Tensor], path: Path, conversion: Conversion, part: str
) -> None:
    for name, expected in own.items():
        if name in found and found[name].shape != expected.shape:
            raise ValueError(
                f"{name} is {tuple(found[name].shape)} in {path} and {tuple(expected.shape)} in model {model.name!r}"
                f"{(not part and _other_model(model, own, conversion)) or _advice(model, own, found, conversion)}"
            )


def feature_width(tensors: Mapping[str, Tensor]) -> int | None:
    """Return how wide the region features are that a model of these tensors reads; None where it reads none."""
    found = ((tensors[name], others) for name, others in FEATURES.items() if name in tensors)
    return next((tensor.shape[1] - others for tensor, others in found if tensor.ndim == 2), None)


def _advice(model: VLEncoder, own: dict[str, Tensor], found: dict[str, Tensor], conversion: Conversion) -> str:
    """Say with what arguments the model would probably fit."""
    if conversion.part:
        return _parser_size(model, conversion)
    if any(name in found and found[name].ndim != 2 for name in (WORDS, *FEATURES, *ROWS)):
        return ""
    words, features = found.get(WORDS), feature_width(found)
    if words is not None and words.shape[1] != model.width:
        sizes = [size for size in option_names("size") if read_option("size", size)["width"] == words.shape[1]]
        return f": the file's width is {words.shape[1]}, {'as in size=' + sizes[0] if sizes else 'which no size has'}"
    if conversion.options:
        return _built(conversion)
    if words is not None and len(words) != model.vocab_size:
        return f": build the model with vocab_size={len(words)}"
    if features is not None and features != model.feature_width:
        return f": build the model with feature_width={features}"
    rows = (
        f"{key}={len(found[name])}"
        for name, key in ROWS.items()
        if name in found and len(found[name]) != len(own[name])
    )
    return next((f": build the model with {setting}" for setting in rows), "")


def _parser_size(model: VLEncoder, conversion: Conversion) -> str:
    """Say in which size the model has the parser of a file; nothing where it is in none."""
    resize = conversion.resize or (lambda name, tensor, shape: tensor)
    for size in option_names("size") if model.name in option_names("model") else ():
        with torch.device("meta"):
            shapes = {name: tensor.shape for name, tensor in build(model.name, size=size).state_dict().items()}
        known = {name: tensor for name, tensor in conversion.tensors.items() if name in shapes}
        if known and all(resize(name, tensor, shapes[name]).shape == shapes[name] for name, tensor in known.items()):
            return f": the file's parser is that of size={size}"
    return ": the file's parser is that of no size"


def listed(word: str, names: Sequence[str]) -> str:
    """Return how many names there are, what they are, and the first of them."""
    shown = ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
    return f"{len(names)} {word}" + (f" ({shown})" if names else "")
