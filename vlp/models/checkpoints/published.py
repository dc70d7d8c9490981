"""Public checkpoints, from ``published.yaml``: which one a file is, and whether it holds what that one should."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import yaml

from vlp.models.checkpoints.conversion import Conversion
from vlp.models.checkpoints.files import FOLDER_FILES, Contents
from vlp.models.checkpoints.loading import WORDS, feature_width
from vlp.models.checkpoints.naming import A_BUFFER

TABLE = "published.yaml"


@dataclass(frozen=True)
class Published:
    """A public checkpoint, or several that differ in their numbers alone.

    Args:
        names: of the file, or of the folder that holds it.
        source: its format, as `LoadReport.source` says it.
        model, size: options of ``conf/model`` and ``conf/size``; None where we have none for it.
        where: the address.
        page: the publisher's, which gives the address.
        licence: what the publisher says; ``not verified`` where that was not read.
        tokenizer: for transformers; None for a model that reads no words.
        features: what it was trained on.
        tensors: in the file; None where not known, as below.
        parameters: numbers in the file, tied ones once, buffers none.
        vocabulary: word pieces.
        feature_width: of regions.
        dead: whether it is known to be gone.
        names_from, licence_from: where those were read; ``not verified`` where they were not.
        verified: whether a file was opened and found so.
        checked: the day on which those were last read, or looked for in vain.
        dead_says: the page that says so.
        instead: what to use.
    """

    names: tuple[str, ...]
    source: str
    model: str | None
    size: str | None
    where: str
    page: str
    licence: str
    tokenizer: str | None
    features: str
    tensors: int | None
    parameters: int | None
    vocabulary: int | None
    feature_width: int | None
    dead: bool
    names_from: str
    licence_from: str
    verified: bool
    checked: str
    dead_says: str = ""
    instead: str = ""


@cache
def published() -> tuple[Published, ...]:
    """Return the table."""
    text = resources.files("vlp.models.checkpoints").joinpath(TABLE).read_text(encoding="utf-8")
    return tuple(Published(**{**row, "names": tuple(row["names"])}) for row in yaml.safe_load(text))


def resembling(contents: Contents, conversion: Conversion) -> tuple[Published, ...]:
    """Return the public checkpoints that a file may be: of its format and model, those of its name where any is."""
    kin = [row for row in published() if (row.source, row.model) == (conversion.source, conversion.model)]
    if not conversion.model:  # a visual parser's file says no model
        kin = [row for row in published() if row.source == conversion.source and conversion.part]
    named = [row for row in kin if row.names and name_of(contents.path) in row.names]
    alike = [row for row in named or kin if not any(differences(row, contents, conversion))]
    return tuple(alike or named)


def name_of(path: Path) -> str:
    """Return what a published file is called: its own name, or its folder's where the file has one that all have."""
    return path.absolute().parent.name if path.name in FOLDER_FILES else path.name


def differences(row: Published, contents: Contents, conversion: Conversion) -> Iterator[str]:
    """Yield what a file holds that the public checkpoint does not."""
    words = conversion.tensors.get(WORDS)
    found = {
        "tensors": (len(contents.tensors), row.tensors),
        "parameters": (parameters(contents, conversion), row.parameters),
        "word pieces": (None if words is None else len(words), row.vocabulary),
        "numbers a region": (feature_width(conversion.tensors), row.feature_width),
    }
    for what, (count, expected) in found.items():
        if None not in (count, expected) and count != expected:
            yield f"{count:,} {what}, published {expected:,}"


def parameters(contents: Contents, conversion: Conversion) -> int:
    """Return how many numbers a file's weights have, those that two tensors share once."""
    weights = (tensor for key, tensor in contents.tensors.items() if conversion.left_out.get(key) != A_BUFFER)
    return sum({(tensor.data_ptr(), tensor.shape): tensor.numel() for tensor in weights}.values())
