"""``python -m vlp.models.export CKPT OUT``: an encoder out of any file we know, for us or for transformers.

``vlp`` writes ``model.safetensors`` with a record that says how to build the model; ``huggingface`` a folder that
`transformers.AutoModel` loads. Prediction heads are left behind.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlp.configs import option_names, read_option, resolve
from vlp.configs.showing import printable
from vlp.durable.digests import file_digest, write_sidecar
from vlp.models.building import build_from_config
from vlp.models.checkpoints.conversion import Conversion
from vlp.models.checkpoints.files import Contents, read_contents
from vlp.models.checkpoints.loading import WORDS, convert, feature_width, load_contents
from vlp.models.checkpoints.published import resembling
from vlp.models.checkpoints.vlp import export_weights
from vlp.models.encoder import VLEncoder

FORMATS = ("vlp", "huggingface")
WEIGHTS = "model.safetensors"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 where a file or argument is not what it should be."""
    options = parser().parse_args(arguments)
    try:
        encoder, record = read_encoder(options.checkpoint, options.model, options.size)
        write = write_huggingface if options.format == "huggingface" else write_vlp
        write(encoder, options.out, record)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"vlp.models.export: {printable(str(error))}\n")
        return 2
    sys.stdout.write(f"{options.out}: model {encoder.name}, format {options.format}\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    command = argparse.ArgumentParser(
        prog="python -m vlp.models.export",
        description="Write the encoder of a checkpoint of ours, or of released weights in any format we know.",
        epilog="example: python -m vlp.models.export last.ckpt mine --format huggingface",
    )
    command.add_argument("checkpoint", type=Path, metavar="CKPT", help="a file, or a folder with model.safetensors")
    command.add_argument("out", type=Path, metavar="OUT", help="a folder that is not there yet, or is empty")
    command.add_argument("--format", choices=FORMATS, default="vlp", help="who is to load it (default: vlp)")
    command.add_argument("--model", metavar="NAME", help="an option of conf/model, where the file does not say which")
    command.add_argument("--size", metavar="NAME", help="an option of conf/size (default: the first of the same width)")
    return command


def read_encoder(path: Path, model: str | None = None, size: str | None = None) -> tuple[VLEncoder, dict[str, Any]]:
    """Return the encoder in a file of any format we know, and the record to keep with it.

    Args:
        path: the file or folder.
        model: an option of ``conf/model``; None for what the file is known to be.
        size: an option of ``conf/size``, of released weights; None for the first that is as wide.

    Raises:
        FileNotFoundError, ValueError: as `load_weights`; or if nobody says what model to build.
    """
    contents = read_contents(path)
    conversion = convert(contents)
    record = dict(contents.record or {})
    if model is not None or size is not None or not record.get("model"):
        record.update(_described(contents, conversion, model, size))
    try:
        encoder = build_from_config(record["model"], record.get("feature_width"), record.get("vocab_size"))
    except TypeError as error:
        raise ValueError(f"{contents.path}, record: {error}") from error
    load_contents(encoder, contents)
    return encoder, record


def _described(contents: Contents, conversion: Conversion, model: str | None, size: str | None) -> dict[str, Any]:
    """Return the record of weights that do not say themselves what model they are of."""
    name = model or conversion.model
    if not name:
        raise ValueError(f"{contents.path} ({conversion.description}) does not say what model it is of: give --model")
    words = conversion.tensors.get(WORDS)
    if words is None or words.ndim != 2:
        raise ValueError(f"{contents.path} ({conversion.description}) has no word embeddings {WORDS}")
    chosen = size or _size_of(words.shape[1], contents)
    option = read_option("model", name)
    for key, value in conversion.options.items() if name == conversion.model else ():
        group, _, leaf = key.rpartition(".")
        option[group][leaf] = value
    config = resolve({"model": option, "size": read_option("size", chosen)})["model"]
    known = resembling(contents, conversion)
    return {
        "model": config,
        "size": chosen,
        "vocab_size": len(words),
        "feature_width": feature_width(conversion.tensors),
        "tokenizer": known[0].tokenizer if known else None,
    }


def _size_of(width: int, contents: Contents) -> str:
    widths = {name: read_option("size", name)["width"] for name in option_names("size")}
    found = next((name for name, value in widths.items() if value == width), None)
    if found is None:
        known = ", ".join(f"{name} {value}" for name, value in widths.items())
        raise ValueError(f"{contents.path} is {width} wide, which no size is ({known}): give --size")
    return found


def write_vlp(encoder: VLEncoder, folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``model.safetensors`` with its record and its sidecar into ``folder``.

    Raises:
        FileExistsError: if there is something in it.
    """
    _make(folder)
    export_weights(encoder, folder / WEIGHTS, record)
    write_sidecar(folder / WEIGHTS, file_digest(folder / WEIGHTS))


def write_huggingface(encoder: VLEncoder, folder: Path, record: Mapping[str, Any]) -> None:
    """Write what ``from_pretrained`` of transformers reads; the record is not kept.

    Of VisualBERT: give transformers ``visual_token_type_ids`` of 0, since its default of 1 is not what we train.

    Raises:
        FileExistsError: if there is something in the folder.
        ValueError: if transformers has no such model.
    """
    from vlp.models.checkpoints.to_huggingface import to_transformers

    del record
    theirs = to_transformers(encoder)
    _make(folder)
    theirs.save_pretrained(folder)


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty, and an export replaces nothing")


if __name__ == "__main__":
    sys.exit(main())
