"""JSON that others wrote: one object a line, each line of bounded length, every value one that we can represent.

A byte order mark at the start and blank lines are passed over. Everything else that is not one object a line is an
error that names the file and the line: a key that occurs twice, ``NaN`` and ``Infinity``, numbers that neither 64 bits
nor a float hold, half a surrogate pair, deep nesting, a file that ends in the middle of a record.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from vlp.configs.showing import shown

LONGEST_LINE = 16 * 1024**2
"""Bytes of a line."""

DEEPEST = 64
"""Levels of lists and objects within each other."""

LARGEST_NUMBER = 2**63
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object of a file with where it stands (``FILE, line 3``), for errors about what it says.

    Raises:
        ValueError: at the first line that is not one object, naming file and line.
    """
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file, path), start=1):
            where = f"{path}, line {number}"
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if not line.strip():
                continue
            value = parse_json(line, where if line.endswith(b"\n") else f"{where}, where the file ends")
            if not isinstance(value, dict):
                raise ValueError(f"{where}: found {shown(value)}, expected an object")
            yield where, value


def _lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise ValueError(f"{path}, line {number}: longer than {LONGEST_LINE:,} bytes; expected one object a line")
        yield line


def parse_json(text: bytes, where: str) -> Any:
    """Return the value of a JSON document in UTF-8.

    Raises:
        ValueError: naming ``where``, what was found and what was expected.
    """
    try:
        decoded = text.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: byte {error.start + 1} is not UTF-8 ({error.reason})") from error
    try:
        value, end = decode_at(decoded, 0, where)
        if rest := decoded[end:].lstrip():
            raise json.JSONDecodeError("Extra data", decoded, len(decoded) - len(rest))
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON ({error.msg} at character {error.pos + 1}); expected an object") from error
    return value


def decode_at(text: str, at: int, where: str) -> tuple[Any, int]:
    """Return the JSON value that begins at character ``at`` of ``text``, and where it ends.

    Raises:
        json.JSONDecodeError: if none begins there, or it is not whole.
        ValueError: if it is one that we do not take, naming ``where`` and what was found.
    """
    try:
        value, end = _decoder.raw_decode(text, at)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise ValueError(f"{where}: nested deeper than {DEEPEST} levels") from error
    except ValueError as error:  # of the hooks below
        raise ValueError(f"{where}: {error}") from error
    if text.count("[", at, end) + text.count("{", at, end) > DEEPEST and _depth(value) > DEEPEST:
        raise ValueError(f"{where}: nested deeper than {DEEPEST} levels")
    if SURROGATE.search(text, at, end):
        _check_unicode(value, where)
    return value, end


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [entry for entry in level if isinstance(entry, dict | list)]:
        depth += 1
        level = [child for entry in level for child in (entry.values() if isinstance(entry, dict) else entry)]
    return depth


def _check_unicode(value: Any, where: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        found = ascii(error.object[error.start])
        raise ValueError(f"{where}: found half a surrogate pair, {found}; expected whole characters") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shown(twice)} occurs twice in one object")
    return value


def _whole_number(text: str) -> int:
    if len(text) > 20 or not -LARGEST_NUMBER <= (value := int(text)) < LARGEST_NUMBER:
        raise ValueError(f"found the number {shown(text)}, which 64 bits do not hold")
    return value


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"found the number {shown(text)}, which is too large")
    return value


def _no_number(text: str) -> Any:
    raise ValueError(f"found {text}, which is no JSON number")


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole_number, parse_float=_number, parse_constant=_no_number
)
