"""`load_weights`: any known file into an encoder, with an account of what did not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vlp.configs import option_names, read_option
from vlp.models.checkpoints import huggingface, vlp
from vlp.models.checkpoints.conversion import Conversion
from vlp.models.checkpoints.files import Contents, read_contents
from vlp.models.encoder import VLEncoder

FORMATS = (vlp.convert, huggingface.convert)
"""Each returns a `Conversion` of files it knows, None of others."""
WORDS = "embeddings.text.words.weight"
FEATURES = "embeddings.features.weight"
NAMES_SHOWN = 5


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did.

    Args:
        missing: our names of weights that the file lacks; they keep what they had.
        unexpected: the file's names of weights that the model lacks; prediction heads are not among them.
        source: the format: vlp or huggingface.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    source: str


def load_weights(model: VLEncoder, path: str | Path, strict: bool = True) -> LoadReport:
    """Load an encoder's weights from a checkpoint of ours, or a file or folder of transformers.

    Weights are cast to the model's type; prediction heads are passed over.

    Args:
        model: takes the weights, in place.
        path: a file, or a folder with ``model.safetensors`` or ``pytorch_model.bin``.
        strict: refuse a file that lacks a weight or has one too many.

    Raises:
        FileNotFoundError: if nothing is there.
        ValueError: if the file is damaged, of unknown format, of other shapes, or (``strict``) does not fit exactly.
    """
    contents = read_contents(path)
    conversion = _convert(contents)
    own = model.state_dict()
    fitting = {name: tensor for name, tensor in conversion.tensors.items() if name in own}
    _check_shapes(model, own, fitting, contents.path)
    unexpected = tuple(sorted(conversion.original[name] for name in conversion.tensors if name not in own))
    report = LoadReport(tuple(name for name in own if name not in fitting), unexpected, conversion.source)
    if strict and (report.missing or report.unexpected):
        raise ValueError(
            f"{contents.path} ({conversion.description}) does not fit model {model.name!r}: "
            f"{_listed('missing', report.missing)}, {_listed('unexpected', report.unexpected)}; "
            "strict=False loads what fits"
        )
    model.load_state_dict(fitting, strict=False)
    return report


def _convert(contents: Contents) -> Conversion:
    for convert in FORMATS:
        conversion = convert(contents)
        if conversion is not None:
            return conversion
    names = ", ".join(list(contents.tensors)[:NAMES_SHOWN])
    raise ValueError(
        f"{contents.path} is in no format we know (ours; transformers' BERT, VisualBERT, LXMERT): "
        f"it has {len(contents.tensors)} tensors, the first being {names}"
    )


def _check_shapes(model: VLEncoder, own: dict[str, Tensor], found: dict[str, Tensor], path: Path) -> None:
    for name, expected in own.items():
        if name in found and found[name].shape != expected.shape:
            raise ValueError(
                f"{name} is {tuple(found[name].shape)} in {path} and {tuple(expected.shape)} in model {model.name!r}"
                f"{_advice(model, found)}"
            )


def _advice(model: VLEncoder, found: dict[str, Tensor]) -> str:
    """Say with what arguments the model would probably fit."""
    words, features = (found.get(name) for name in (WORDS, FEATURES))
    if any(tensor is not None and tensor.ndim != 2 for tensor in (words, features)):
        return ""
    if words is not None and words.shape[1] != model.width:
        sizes = [size for size in option_names("size") if read_option("size", size)["width"] == words.shape[1]]
        return f": the file's width is {words.shape[1]}, {'as in size=' + sizes[0] if sizes else 'which no size has'}"
    if words is not None and len(words) != model.vocab_size:
        return f": build the model with vocab_size={len(words)}"
    if features is not None and features.shape[1] != model.feature_width:
        return f": build the model with feature_width={features.shape[1]}"
    return ""


def _listed(word: str, names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
    return f"{len(names)} {word}" + (f" ({shown})" if names else "")
