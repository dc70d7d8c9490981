"""Reading tensors from a file or folder, whatever the names in it, without running any code that is in it."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vlp.configs.showing import printable
from vlp.data.json_lines import parse_json
from vlp.durable.digests import check_digest
from vlp.models.checkpoints.plain_pickles import (
    LEGACY_PICKLES,
    NotPlainError,
    check_loaded,
    check_pickles,
    check_zip,
)
from vlp.models.checkpoints.records import checked_record

FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")
"""What a folder of weights may hold, the first that is there wins."""
RECORD = "vlp"
"""Key under which our own checkpoints describe themselves."""
NESTS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts put the tensors."""
SAFETENSORS_HEADER_BYTES = 8
LONGEST_REASON = 200

DAMAGED = (
    *(ValueError, TypeError, AttributeError, LookupError, ArithmeticError, AssertionError, RuntimeError, EOFError),
    *(struct.error, pickle.UnpicklingError, zipfile.BadZipFile, SafetensorError),
)
"""What torch and safetensors raise when a file is not what it says it is."""


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
        ValueError: if the file is not what its sidecar says, is cut short, holds objects that are no plain data, a
            record that is not as ours are, or no tensors.
    """
    file = weights_file(Path(path))
    check_digest(file)
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
    except DAMAGED as error:
        raise ValueError(f"{file} is cut short or damaged: {_one_line(error)}") from error
    where = f"{file}, record"
    return Contents(
        file, tensors, None if record is None else checked_record(parse_json(record.encode(), where), where)
    )


def _read_torch(file: Path) -> Contents:
    loaded = load_plain(file)
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{file} holds a {type(loaded).__name__}, expected a mapping of names to tensors")
    nested = next((loaded[key] for key in NESTS if isinstance(loaded.get(key), Mapping)), loaded)
    tensors = {str(key): value for key, value in nested.items() if isinstance(value, Tensor)}
    record = loaded.get(RECORD)
    return Contents(file, tensors, None if record is None else checked_record(record, f"{file}, record"))


def load_plain(file: Path) -> Any:
    """Load a file of `torch.save` without running code: tensors on the CPU, and plain data.

    Where the file's format allows it (zip), tensors stay on disk until they are read. Takes memory of the file's size
    at most a few times, whatever the file claims. Storages saved as raw bytes (``torch.save(b"...")``) are not plain.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is cut short or damaged, holds anything else than plain data, or tensors larger than itself;
            one line that names the file.
    """
    try:
        with file.open("rb") as stream:
            is_zip = stream.read(2) == b"PK"
        loaded = _load_zip(file) if is_zip else _load_legacy(file)
        check_loaded(loaded, file.stat().st_size)
    except NotPlainError as error:
        raise ValueError(f"{file} {printable(str(error))}") from error
    except (OSError, *DAMAGED) as error:
        if isinstance(error, OSError) and error.filename is not None:  # others name no file: a place before its start
            raise
        raise ValueError(f"{file} is cut short or damaged: {_one_line(error)}") from error
    return loaded


def _load_zip(file: Path) -> Any:
    check_zip(file)
    return torch.load(file, map_location="cpu", weights_only=True, mmap=True)


def _load_legacy(file: Path) -> Any:
    content = file.read_bytes()
    check_pickles(content, LEGACY_PICKLES)
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _one_line(error: Exception) -> str:
    return printable(str(error).strip().partition("\n")[0])[:LONGEST_REASON] or type(error).__name__
