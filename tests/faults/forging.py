"""Making files that claim what they do not hold: images, checkpoints and pickles."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

PNG_START = b"\x89PNG\r\n\x1a\n"


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file with the right checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes) -> bytes:
    """Return a PNG file that says it has this size, with a few pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return PNG_START + header + b"".join(more) + png_chunk(b"IDAT", zlib.compress(bytes(99))) + png_chunk(b"IEND", b"")


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return kind and data of the chunks of a PNG file."""
    chunks, at = [], len(PNG_START)
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def joined_chunks(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the PNG file of chunks."""
    return PNG_START + b"".join(png_chunk(kind, data) for kind, data in chunks)


def drawing(mode: str, size: tuple[int, int] = (400, 100)) -> bytes:
    """Return a PNG image as the readers expect one."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Storage:
    """A storage as a pickle refers to it, and what it claims."""

    numel: Any
    key: str = "0"


class Call:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.args


def tensor(numel: Any, size: tuple[int, ...], stride: tuple[int, ...] = (1,), offset: int = 0) -> Call:
    """Return a tensor of a storage of ``numel`` numbers, as torch pickles it."""
    return Call(torch._utils._rebuild_tensor_v2, Storage(numel), offset, size, stride, False, {})


class Pickler(pickle._Pickler):  # type: ignore[name-defined] # the one in Python: the other refuses what is no pickle
    """Pickles `Storage` as a reference to a storage; before torch 1.6 these had one part more."""

    legacy = False

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Storage):
            return None
        return ("storage", torch.FloatStorage, value.key, "cpu", value.numel, *([None] if self.legacy else []))


def pickled(value: Any, legacy: bool = False) -> bytes:
    """Return a pickle in which `Storage` stands for storages."""
    buffer = io.BytesIO()
    pickler = Pickler(buffer, 2)
    pickler.legacy = legacy
    pickler.dump(value)
    return buffer.getvalue()


def zip_members(file: Path) -> dict[str, bytes]:
    """Return what a zip file holds."""
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_zip(file: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Write a zip file as `torch.load` reads it."""
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def forge_checkpoint(file: Path, content: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    """Write a file of `torch.save` with four numbers in it, whose pickle is ``content``."""
    torch.save({"weight": torch.zeros(4)}, file)
    members = {name: content if name.endswith("data.pkl") else data for name, data in zip_members(file).items()}
    write_zip(file, members, compression)


def forge_legacy(file: Path, content: bytes, keys: Sequence[str] = ("0",)) -> None:
    """Write a file as torch did before version 1.6, with four numbers in it, whose pickle is ``content``."""
    magic, version, system = 0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}
    parts = [pickle.dumps(part, 2) for part in (magic, version, {**system, "type_sizes": {}})]
    numbers = struct.pack("<q", 4) + bytes(16)
    file.write_bytes(b"".join([*parts, content, pickle.dumps(list(keys), 2), numbers]))


def forge_safetensors(file: Path, header: bytes, data: bytes = bytes(16)) -> None:
    """Write a safetensors file with any header."""
    file.write_bytes(struct.pack("<Q", len(header)) + header + data)


def safetensors_header(shape: Sequence[int], end: int = 16, **metadata: str) -> bytes:
    """Return the header of a file with one tensor."""
    entry = {"dtype": "F32", "shape": list(shape), "data_offsets": [0, end]}
    return json.dumps({"__metadata__": metadata, "weight": entry}).encode()


def write_checkpoint(
    file: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any], legacy: bool = False
) -> None:
    """Write a checkpoint of ours: ``.safetensors`` by its ending, else Lightning's."""
    if file.suffix == ".safetensors":
        save_file(dict(tensors), file, metadata={"vlp": json.dumps(dict(record))})
        return
    state = {f"encoder.{name}": value for name, value in tensors.items()}
    contents = {"state_dict": state, "global_step": 7, "vlp": dict(record), "optimizer_states": [{"state": {0: {}}}]}
    torch.save(contents, file, _use_new_zipfile_serialization=not legacy)
