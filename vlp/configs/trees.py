"""Plain trees that others wrote: YAML, JSON, the records of checkpoints. What is too deep or too large is refused.

A small file may describe a huge tree, because parts of it are shared (YAML's aliases, a pickle's memo), so a tree's
size is counted as it would be if every part were copied, without copying any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vlp.configs.showing import printable, shown

DEEPEST = 64
"""Levels of lists and mappings within each other."""

LARGEST = 1_000_000
"""Entries of a tree plus characters of its texts, shared parts counted as often as they occur."""


def check_tree(tree: Any, where: str) -> None:
    """Check that ``tree`` is plain (mappings, lists, texts, numbers, null), and neither too deep nor too large.

    Raises:
        ValueError: naming ``where`` and the key, what was found and what was expected.
    """
    _size(tree, where, (), {})


def checked_size(size: int, where: str) -> int:
    """Return ``size``, in entries and characters.

    Raises:
        ValueError: if it is above `LARGEST`, naming ``where``.
    """
    if size > LARGEST:
        raise ValueError(
            f"{where}: over {LARGEST:,} entries and characters once what is shared or referred to is copied"
        )
    return size


def dotted(tree: Any, where: str, kind: type[str] | type[float]) -> dict[str, Any]:
    """Return the entries of maps within each other by their whole names: ``{"a": {"b": 1}}`` is ``{"a.b": 1}``.

    Args:
        tree: a map, whose own keys may hold dots already; None for an empty one.
        where: the tree's key, for errors.
        kind: of the entries: text, or (float) number; None is taken as it is.

    Raises:
        ValueError: if an entry is of another kind, or a name is there twice.
    """
    expected = "a text" if kind is str else "a number"
    entries: dict[str, Any] = {}
    if not isinstance(tree, Mapping | None):
        raise ValueError(f"{where}={shown(tree)}: expected a map from the name of a part to {expected}, or null")
    for key, value in (tree or {}).items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(value, Mapping):
            found = {f"{key}.{rest}": entry for rest, entry in dotted(value, f"{where}.{key}", kind).items()}
        elif value is None or (isinstance(value, str) if kind is str else is_number):
            found = {str(key): value}
        else:
            raise ValueError(f"{where}.{key}={shown(value)}: expected {expected}, null, or a map to such")
        for name, entry in found.items():
            if name in entries:
                both = f"{shown(entries[name])} and {shown(entry)}"
                raise ValueError(f"{where}: {name} is there twice, as {both}; write '{where}={{{name}:VALUE}}' alone")
            entries[name] = entry
    return entries


def _size(value: Any, where: str, keys: tuple[str, ...], known: dict[int, int]) -> int:
    """Return how large a value is; ``known`` holds the sizes of the containers seen so far."""
    if value is None or isinstance(value, bool | int | float):
        return 1
    if isinstance(value, str):
        return checked_size(1 + _length(value, where, keys), _at(where, keys))
    if not isinstance(value, Mapping | list | tuple):
        raise ValueError(f"{_at(where, keys)}: found a {type(value).__name__}, expected plain data")
    if id(value) not in known:
        if len(keys) >= DEEPEST:  # also where a list holds itself
            raise ValueError(f"{_at(where, keys)}: nested deeper than {DEEPEST} levels")
        size = 1
        for key, entry in _entries(value, where, keys):
            size = checked_size(size + len(key) + _size(entry, where, (*keys, key), known), _at(where, keys))
        known[id(value)] = size
    return known[id(value)]


def _entries(value: Any, where: str, keys: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a container with their keys."""
    if not isinstance(value, Mapping):
        yield from ((f"[{index}]", entry) for index, entry in enumerate(value))
        return
    for key, entry in value.items():
        if not (key is None or isinstance(key, str | int | float)):
            raise ValueError(f"{_at(where, keys)}: found the key {shown(key)}, expected a text or number")
        _length(str(key), where, keys)
        yield str(key), entry


def _length(text: str, where: str, keys: tuple[str, ...]) -> int:
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(f"{_at(where, keys)}: half a character in {shown(text)}, expected UTF-8") from error
    return len(text)


def _at(where: str, keys: tuple[str, ...]) -> str:
    path = printable(".".join(keys[:8])).replace(".[", "[")
    return f"{where}, key {path}{'...' if len(keys) > 8 else ''}" if keys else where
