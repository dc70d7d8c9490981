"""Reading tensors from a file or folder, whatever the names in it, without running any code that is in it."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")
"""What a folder of weights may hold, the first that is there wins."""
RECORD = "vlp"
"""Key under which our own checkpoints describe themselves."""
NESTS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts put the tensors."""
SAFETENSORS_HEADER_BYTES = 8


@dataclass(frozen=True)
class Contents:
    """Tensors of a file by the file's own names, and the record of ours, where it has one."""

    path: Path
    tensors: dict[str, Tensor]
    record: dict[str, Any] | None = None


def read_contents(path: str | Path) -> Contents:
    """Read a ``.safetensors`` file, one of `torch.save`, or a folder with either.

    Raises:
        FileNotFoundError: if nothing is there.
        ValueError: if the file is cut short, holds objects that are no plain data, or no tensors.
    """
    file = weights_file(Path(path))
    contents = _read_safetensors(file) if _is_safetensors(file) else _read_torch(file)
    if not contents.tensors:
        raise ValueError(f"{file} holds no tensors")
    return contents


def weights_file(path: Path) -> Path:
    """Return the file that holds the weights of ``path``: itself, or the one in the folder.

    Raises:
        FileNotFoundError: if there is none, naming what was looked for and what is there.
    """
    if not path.exists():
        raise FileNotFoundError(f"there are no weights at {path}")
    if not path.is_dir():
        return path
    for name in FOLDER_FILES:
        if (path / name).is_file():
            return path / name
    found = ", ".join(sorted(entry.name for entry in path.iterdir())) or "nothing"
    raise FileNotFoundError(f"the folder {path} holds neither {' nor '.join(FOLDER_FILES)}; found {found}")


def _is_safetensors(file: Path) -> bool:
    if file.suffix == ".safetensors":
        return True
    with file.open("rb") as stream:
        return stream.read(SAFETENSORS_HEADER_BYTES + 1)[SAFETENSORS_HEADER_BYTES:] == b"{"


def _read_safetensors(file: Path) -> Contents:
    try:
        with safe_open(file, framework="pt") as opened:
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (no mapping)
            record = (opened.metadata() or {}).get(RECORD)
    except SafetensorError as error:
        raise ValueError(f"{file} is cut short or damaged: {error}") from error
    return Contents(file, tensors, None if record is None else json.loads(record))


def _read_torch(file: Path) -> Contents:
    loaded = _load_plain(file)
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{file} holds a {type(loaded).__name__}, expected a mapping of names to tensors")
    nested = next((loaded[key] for key in NESTS if isinstance(loaded.get(key), Mapping)), loaded)
    tensors = {str(key): value for key, value in nested.items() if isinstance(value, Tensor)}
    record = loaded.get(RECORD)
    return Contents(file, tensors, dict(record) if isinstance(record, Mapping) else None)


def _load_plain(file: Path) -> Any:
    """Load without running code; tensors stay on disk until they are read, where the file's format allows it."""
    with file.open("rb") as stream:
        is_zip = stream.read(2) == b"PK"
    if is_zip and not zipfile.is_zipfile(file):
        raise ValueError(f"{file} is cut short: a zip file without its directory, which stands at the end")
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        if "truncated" in str(error):
            raise ValueError(f"{file} is cut short: {error}") from error
        raise ValueError(
            f"{file} holds no plain tensors, or objects that would run code: {_first_line(error)}"
        ) from error
    except (EOFError, RuntimeError) as error:
        raise ValueError(f"{file} is cut short or damaged: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
