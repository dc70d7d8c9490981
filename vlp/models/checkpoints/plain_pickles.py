"""What a file of `torch.save` may hold, checked before it is unpickled: tensors and plain data, not above its size.

`torch.load` with ``weights_only`` runs no code of the file, but it may be told to allocate any amount of memory, and
its messages advise to switch the check off. Here the pickles are read as a list of operations first, running none.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlp.configs.showing import shown

DIRECTORY_END = b"PK\x05\x06"
DIRECTORY_END_BYTES = 22

_DTYPES = frozenset(name for name, value in vars(torch).items() if isinstance(value, torch.dtype))
_STORAGES = frozenset(storage.__name__ for storage in torch._storage_classes) - {"TypedStorage", "UntypedStorage"}

PLAIN = frozenset(
    {
        *("collections.OrderedDict", "collections.Counter", "builtins.set", "__builtin__.set"),
        *("torch.Size", "torch.device", "torch.nn.parameter.Parameter"),
        *(f"torch._utils._rebuild_{what}" for what in ("tensor", "tensor_v2", "parameter")),
        *(f"torch.{name}" for name in _DTYPES | _STORAGES),
    }
)
"""What a pickle may name: containers, and what puts a tensor together from its storage."""

DEEPEST = 64
"""Containers within each other."""

LEAVES = (type(None), bool, int, float, str, bytes, torch.Size, torch.dtype, torch.device)
CONTAINERS = (list, tuple, set)

LEGACY_PICKLES = 5
"""Pickles of the format before torch 1.6: magic number, protocol, system, the object, the names of its storages."""


class NotPlainError(ValueError):
    """A file that names something else, or claims more than it holds."""


def check_zip(file: Path) -> None:
    """Check the zip format of `torch.save`: whole, not compressed, no member twice, pickles of plain data.

    Raises:
        NotPlainError: saying what was found.
        ValueError, OSError, zipfile.BadZipFile: if a pickle or the archive cannot be read.
    """
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - DIRECTORY_END_BYTES))
        if not stream.read().startswith(DIRECTORY_END):
            raise NotPlainError("is cut short: a zip file without its directory, which stands at the end")
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _check_members(members, file.stat().st_size)
        for member in members:
            if member.filename.lower().endswith(".pkl"):
                check_pickles(archive.read(member))


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise NotPlainError("is compressed, which torch.save never does")
    if (claimed := sum(member.file_size for member in members)) > size:
        raise NotPlainError(f"claims {claimed:,} bytes of content and has {size:,}")
    name, count = Counter(member.filename.lower() for member in members).most_common(1)[0]
    if count > 1:
        raise NotPlainError(f"holds {name!r} {count} times")


def check_pickles(content: bytes, count: int = 1) -> None:
    """Check the first ``count`` pickles of ``content``.

    Raises:
        NotPlainError: if one names anything that is not in `PLAIN`.
        ValueError: if one is cut short or damaged.
    """
    stream = io.BytesIO(content)
    for _ in range(count):
        for name in _names(stream):
            if name not in PLAIN:
                raise NotPlainError(f"holds no plain tensors, or objects that would run code: {name}")


def _names(stream: io.BytesIO) -> Iterator[str]:
    """Yield what a pickle names; `torch.load` refuses the operations that would name things in another way."""
    for operation, argument, _ in pickletools.genops(stream):
        if operation.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".", 1)
        elif operation.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            yield operation.name


def check_loaded(loaded: Any, size: int) -> None:
    """Check what a file of ``size`` bytes was unpickled to, each object once however often it is referred to.

    Raises:
        NotPlainError: naming the type that is no plain data, or the tensor that is larger than the file.
    """
    seen: set[int] = set()
    level = [loaded]
    for _ in range(DEEPEST):
        fresh = {id(value): value for value in level if id(value) not in seen and not isinstance(value, LEAVES)}
        seen.update(fresh)
        level = [child for value in fresh.values() for child in _children(value, size)]
        if not level:
            return
    raise NotPlainError(f"is nested deeper than {DEEPEST} levels")


def _children(value: Any, size: int) -> Iterator[Any]:
    if isinstance(value, Tensor):
        _check_tensor(value, size)
    elif isinstance(value, Mapping):
        if getattr(value, "__dict__", {}).keys() - {"_metadata"}:  # torch.save keeps versions there
            raise NotPlainError(f"holds a {type(value).__name__} with attributes {', '.join(map(shown, vars(value)))}")
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, CONTAINERS):
        yield from value
    else:
        raise NotPlainError(f"holds a {type(value).__name__}, expected tensors and plain data")


def _check_tensor(tensor: Tensor, size: int) -> None:
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise NotPlainError(f"holds a tensor of {tensor.layout} on {tensor.device}, expected plain tensors")
    if (claimed := tensor.numel() * tensor.element_size()) > size:
        shape = tuple(tensor.shape)
        raise NotPlainError(f"claims a tensor of {claimed:,} bytes, shape {shape}, and has {size:,}")
